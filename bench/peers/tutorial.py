# The tutorial's server, but it listens on the loopback address, and its port is an argument and can be reused at once.
import socket
import sys

serversocket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
serversocket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
host = "127.0.0.1"
port = int(sys.argv[1])
serversocket.bind((host, port))
serversocket.listen(3)

while True:
    clientsocket, address = serversocket.accept()
    print("Received connection from %s" % str(address))
    message = "Thank you for connecting to the server." + "\r\n"
    clientsocket.send(message.encode("ascii"))
    clientsocket.close()
