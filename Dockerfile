# syntax=docker/dockerfile:1
# docker build -t cognito-feed .                        the service
# docker build -t cognito-feed-emulator --target emulator .   the emulated pool, for docker-compose.yml
# No step needs more than npm and a shell: test/chart/image.chart.test.ts follows them in a clean folder.
ARG NODE=node:24.21.0-bookworm-slim

FROM ${NODE} AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# Nothing that is built here needs an install script: the compiler and tsx bring their platform's binary as a package.
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY services ./services
COPY shared ./shared
RUN npm run build

FROM ${NODE} AS production
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --ignore-scripts

# For docker-compose.yml: the hostile pool of test/emulator, run as it is by tsx.
FROM build AS emulator
COPY test/emulator ./test/emulator
ENV EMULATOR_HOST=0.0.0.0 EMULATOR_PORT=9229
EXPOSE 9229
USER 1000:1000
ENTRYPOINT ["node", "--import", "tsx", "test/emulator/main.ts"]

FROM ${NODE} AS service
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="cognito-feed" \
      org.opencontainers.image.description="A Cognito user pool as a Postgres table, kept current" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
WORKDIR /app
COPY LICENSE package.json ./
COPY --from=production /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
# A link, not a wrapper: the kernel starts node by the file's first line, so node is PID 1 and gets the signals itself.
RUN ln -s /app/dist/services/cli/main.js /usr/local/bin/cognito-feed
ENV NODE_ENV=production HTTP_HOST=0.0.0.0
EXPOSE 9464
# A number, so that Kubernetes can see that it is not root. It owns no file: the root file system may be read-only.
USER 10001:10001
ENTRYPOINT ["cognito-feed"]
CMD ["--help"]
