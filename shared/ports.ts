/**
 * Lists of ports.
 *
 * @module
 */

/**
 * Removes repeated ports, so that ranges may overlap. Keeps the first of each, and every 0, which stands for any free
 * port.
 */
export function uniquePorts(ports: readonly number[]): number[] {
  const seen = new Set<number>();
  return ports.filter((port) => {
    if (seen.has(port)) return false;
    if (port !== 0) seen.add(port);
    return true;
  });
}
