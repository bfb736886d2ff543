# The broker in a small image: production dependencies only, not root.
#
#   docker build -t onehop .
#   docker run --name onehop -p 1883:1883 -p 127.0.0.1:8080:8080 -v onehop:/var/lib/onehop -e ONEHOP_AUTH__ALLOW_ANONYMOUS=true onehop
#   docker exec onehop onehop apikey add me --role admin --file /var/lib/onehop/api-keys.json      then http://127.0.0.1:8080/console/
#
# A container must listen on all its addresses, or nobody outside can reach it. The broker refuses that until it is said who may connect, so the
# image does not start without ONEHOP_AUTH__ALLOW_ANONYMOUS=true or a configuration file of one's own that says so:
#
#   docker run -p 1883:1883 -v ./onehop.yaml:/etc/onehop.yaml:ro onehop
#
# scripts/package-check.mjs takes the same steps without Docker; keep both alike.

FROM node:22-slim AS build
WORKDIR /build
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY . .
# The lock file goes into the package, so that the second stage installs the versions that were tested.
RUN npm run build && npm shrinkwrap && npm pack

FROM node:22-slim
ENV NODE_ENV=production
WORKDIR /opt/onehop
# The library of WebSockets comes with a binary for every platform, 133 MB; the image needs its own.
COPY --from=build /build/onehop-*.tgz /tmp/onehop.tgz
RUN echo '{ "private": true }' > package.json \
  && npm install --omit=dev --no-audit --no-fund /tmp/onehop.tgz \
  && find node_modules -path '*/uWebSockets.js/dist/bin/*' -not -name "uws_linux_$(node -p 'process.arch + "_" + process.versions.modules').node" -delete \
  && ln -s /opt/onehop/node_modules/.bin/onehop /usr/local/bin/onehop \
  && rm -rf /tmp/onehop.tgz ~/.npm
# A file of one's own is mounted over this one.
RUN echo 'listeners: [{ type: tcp, bind: 0.0.0.0:1883 }, { type: http, bind: 0.0.0.0:8080 }]' > /etc/onehop.yaml
RUN mkdir /var/lib/onehop && chown node /var/lib/onehop
ENV ONEHOP_STORE__PATH=/var/lib/onehop \
  ONEHOP_STORE__BACKUPS=/var/lib/onehop/backups \
  ONEHOP_HISTORY__PATH=/var/lib/onehop/history \
  ONEHOP_HTTP__API_KEYS=/var/lib/onehop/api-keys.json \
  ONEHOP_HTTP__AUDIT_LOG=/var/lib/onehop/audit.log
VOLUME /var/lib/onehop
USER node
# MQTT, over TLS, over WebSocket, over WebSocket and TLS, and HTTP, as far as the configuration has listeners there.
EXPOSE 1883 8883 8083 8084 8080
# A TCP connection that is accepted shows that a shard runs.
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s --retries=3 \
  CMD ["node", "-e", "require('node:net').connect(1883, '127.0.0.1').on('connect', () => process.exit(0)).on('error', () => process.exit(1))"]
# The broker stops by itself within shutdown.timeout (10 s).
STOPSIGNAL SIGTERM
ENTRYPOINT ["onehop"]
CMD ["start", "--config", "/etc/onehop.yaml"]
