# Most instructions of a Dockerfile, with the classic builder: a container for each RUN.
cd $w
mkdir sub
echo unpacked > sub/f
tar -cf archive.tar -C sub f
echo 'from the first stage' > first
cat > Dockerfile <<'END'
FROM busybox AS first
COPY first /first
RUN cp /first /second && rm /first

FROM busybox
ARG WORD=default
ENV TEXT="argument $WORD"
LABEL pier=yes
WORKDIR /work
COPY --from=first /second .
COPY --chown=user first owned
ADD archive.tar /archive
SHELL ["/bin/sh", "-ec"]
RUN echo "$TEXT" > text
VOLUME /data
RUN mkdir -p /kept; echo volume kept > /kept/f
EXPOSE 80
STOPSIGNAL USR1
ONBUILD RUN echo onbuild ran > /tmp/onbuild
USER user
RUN id -u > /tmp/uid
ENTRYPOINT ["sh", "-c"]
CMD ["cat second text; pwd; echo uid $(cat /tmp/uid) owner $(stat -c %u owned); cat /archive/f /kept/f"]
END
export DOCKER_BUILDKIT=0
docker build -t $n-image . > log 2>&1 || cat log
docker run --rm $n-image
echo "FROM $n-image" | docker build -t $n-second - > log 2>&1 || cat log
docker run --rm $n-second 'cat /tmp/onbuild'
docker inspect -f 'stop signal {{.Config.StopSignal}}, {{range $k, $v := .Config.Labels}}label {{$k}}{{end}}, {{range $k, $v := .Config.ExposedPorts}}port {{$k}}{{end}}' $n-image
docker rmi $n-second $n-image >/dev/null
