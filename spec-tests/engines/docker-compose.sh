# Two services that find each other by name, the second waiting for the first to be healthy.
cd $w
export COMPOSE_PROJECT_NAME=$n COMPOSE_FILE=$w/compose.yaml
cat > compose.yaml <<'END'
version: "2.4"
services:
  web:
    image: busybox
    command: ["sh", "-c", "sleep 1; echo hello from web > /data/index.html; exec httpd -f -h /data"]
    mem_limit: 64m
    volumes: ["data:/data"]
    healthcheck: { test: ["CMD", "test", "-s", "/data/index.html"], interval: 0.3s, retries: 100 }
  user:
    image: debian
    command: ["python3", "-c", "import urllib.request as u; print(u.urlopen('http://web/').read().decode(), end=''); print('started in order')"]
    depends_on: { web: { condition: service_healthy } }
volumes:
  data: {}
END
docker-compose up -d > log 2>&1 || cat log
docker wait ${n}_user_1 >/dev/null
docker-compose logs --no-color --no-log-prefix user 2>/dev/null | grep -v Attaching
docker-compose up -d --scale web=2 > log 2>&1 || cat log
echo scaled $(docker-compose ps -q web | wc -l)
docker-compose exec -T web sh -c 'echo kept over a restart > /data/f'
docker-compose restart -t 0 web > log 2>&1 || cat log
docker-compose exec -T web cat /data/f
docker-compose down -v -t 0 > log 2>&1 || cat log
{ docker ps -aq -f name=${n}_; docker volume ls -q -f name=${n}_; docker network ls -q -f name=${n}_; } | grep . || echo nothing left
