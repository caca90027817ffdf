# A web server behind a published port: its workers are somebody else, and it reloads and ends when told.
mkdir $w/www
chmod 755 $w $w/www
echo 'hello from nginx' > $w/www/index.html
docker run -d --name $n -p 127.0.0.1::80 -v $w/www:/var/www/html:ro programs nginx -g 'daemon off;' >/dev/null
page=http://127.0.0.1:$(docker port $n 80 | sed 's/.*://')/
soon busybox wget -qO- $page
busybox wget -qO- $page
docker top $n -o pid,uid,args | grep 'worker process' | grep -qvE '^[0-9]+ +0 ' && echo workers are not root
echo 'server { listen 80; location / { return 200 "hello again\n"; } }' > $w/conf
docker cp $w/conf $n:/etc/nginx/sites-available/default
docker exec $n nginx -t >/dev/null 2>$w/e || cat $w/e
docker kill -s HUP $n >/dev/null
# The old workers may answer for a while.
again() { busybox wget -qO- $page > $w/o && grep again $w/o; }
soon again
cat $w/o
docker kill -s QUIT $n >/dev/null
echo ended $(docker wait $n)
docker rm $n >/dev/null
