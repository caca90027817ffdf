# A database whose rows outlive its container, and PHP that reads them by the service's name.
cat > $w/serve <<'END'
#!/bin/sh
set -e
[ -d /data/mysql ] || mariadb-install-db --user=mysql --datadir=/data --skip-test-db >/dev/null
cat > /run/init.sql <<SQL
CREATE DATABASE IF NOT EXISTS harbour;
CREATE USER IF NOT EXISTS 'pilot'@'%' IDENTIFIED BY '$PASSWORD';
GRANT ALL ON harbour.* TO 'pilot'@'%';
SQL
chown -R mysql /run /data
exec mariadbd --user=mysql --datadir=/data --bind-address=0.0.0.0 --socket=/run/socket --pid-file=/run/pid --init-file=/run/init.sql
END
cat > $w/rows.php <<'END'
<?php
$harbour = new PDO('mysql:host=db;dbname=harbour', 'pilot', getenv('PASSWORD'));
if (getenv('FILL')) {
    $harbour->exec('CREATE TABLE ships (id INT PRIMARY KEY, name TEXT)');
    $harbour->exec("INSERT INTO ships VALUES (1, 'one'), (2, 'two')");
}
echo implode(' ', $harbour->query('SELECT name FROM ships ORDER BY id')->fetchAll(PDO::FETCH_COLUMN)), "\n";
END
docker network create $n >/dev/null
database() {
    docker run -d --name $n-db --net $n --net-alias db -e PASSWORD=secret -v $n:/data -v $w/serve:/serve:ro programs sh /serve >/dev/null
}
php() { docker run --rm --net $n -e PASSWORD=${password:-secret} -e FILL=$fill -v $w/rows.php:/rows.php:ro programs php /rows.php; }
up() { docker exec $n-db mariadb-admin --socket=/run/socket ping && docker exec $n-db mariadb --socket=/run/socket -e 'USE harbour'; }
database
soon up
echo "rows: $(fill=yes php)"
docker restart $n-db >/dev/null
soon up
echo "after restart: $(php)"
docker stop $n-db >/dev/null
docker rm $n-db >/dev/null
database
soon up
echo "after rm and run: $(php)"
docker run -d --name $n-web --net $n -p 127.0.0.1::80 -e PASSWORD=secret -v $w/rows.php:/www/index.php:ro programs php -S 0.0.0.0:80 -t /www >/dev/null
page=http://127.0.0.1:$(docker port $n-web 80 | sed 's/.*://')/
soon busybox wget -qO- $page
echo "over http: $(busybox wget -qO- $page)"
password=wrong php 2>&1 | grep -q 'Access denied for user' && echo wrong password refused
docker rm -f $n-db $n-web >/dev/null
docker network rm $n >/dev/null
docker volume rm $n >/dev/null
