# The base image brings Node.js and is the only thing downloaded besides npm packages. Debian, not Alpine: the tests run
# on glibc, and Node.js supports it there first. Its major version is that of tools/node, which a test compares.

# What the server needs at run time. A stage of its own, so that a change of the code reuses it.
FROM node:26-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
# Without workspaces tools/node stays out, whose only purpose is to bring another Node.js. No package may run a script.
RUN npm ci --workspaces=false --omit=dev --ignore-scripts --no-audit --no-fund

FROM node:26-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --workspaces=false --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json LICENSE ./
COPY bin ./bin
COPY src ./src
# A checkout may have been made with a strict umask: the server's user must be able to read what it runs.
RUN npm run build && chmod -R a+rX bin dist package.json LICENSE

FROM node:26-bookworm-slim
LABEL org.opencontainers.image.title="OpenResponses" \
      org.opencontainers.image.description="A self-hosted server for the OpenAI Responses and Conversations APIs with a store of its own" \
      org.opencontainers.image.licenses="Apache-2.0"
# Within a container loopback is the container itself. Whatever is set here can be set otherwise at the start.
ENV NODE_ENV=production \
    OPEN_RESPONSES_SERVER_HOST=0.0.0.0 \
    OPEN_RESPONSES_SERVER_PORT=8080 \
    OPEN_RESPONSES_STORE_TYPE=sqlite \
    OPEN_RESPONSES_SQLITE_PATH=/data/open-responses.sqlite
WORKDIR /app
# The program belongs to root: the server can't change what it runs.
COPY --from=dependencies /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY --from=build /app/bin ./bin
COPY --from=build /app/package.json /app/LICENSE ./
# The only place that the server writes to. Group 0 is for platforms that choose a user of their own and put it there.
RUN mkdir -m 0770 /data && chown 1000:0 /data
# The base image's user `node`, as a number: Kubernetes can tell only so that it is not root.
USER 1000:1000
EXPOSE 8080
STOPSIGNAL SIGTERM
# /readyz, not /healthz: nothing restarts on account of this, but others wait for it, and they need the store as well.
# Node.js itself asks, for there is no curl here.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + process.env.OPEN_RESPONSES_SERVER_PORT + '/readyz').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
# No shell and no npm between: signals reach the server, which listens for them from its first moment on.
ENTRYPOINT ["node", "/app/bin/open-responses.js"]
CMD ["serve"]
