# Datagrams come through a published port, and answers back.
docker run -d --name $n -p 127.0.0.1::53/udp debian python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 53))
while True:
    s.sendto(*s.recvfrom(99))' >/dev/null
port=$(docker port $n 53/udp | sed 's/.*://')
docker run --rm --net host debian python3 -c "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(0.3)
for _ in range(100):
    try:
        s.sendto(b'hello', ('127.0.0.1', $port))
        print(s.recv(99).decode())
        break
    except OSError:
        pass"
docker rm -f $n >/dev/null
