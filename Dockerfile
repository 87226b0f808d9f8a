# The service: small, not root, git inside. Agents run in the same container, so the agent's program must be there, too:
# build on this image and add it (for Claude Code: npm and @anthropic-ai/claude-code), or mount it and name it in
# MOSAIC_CLAUDE_BIN.
FROM rust:1-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p mosaic --bin mosaic && cp target/release/mosaic /mosaic

FROM debian:bookworm-slim AS service
RUN apt-get update \
 && apt-get install -y --no-install-recommends git openssh-client ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --user-group --create-home --home-dir /home/mosaic mosaic \
 && install -d -o mosaic -g mosaic -m 700 /var/lib/mosaic
COPY --from=build /mosaic /usr/local/bin/mosaic
USER mosaic
ENV MOSAIC_DATA_DIR=/var/lib/mosaic MOSAIC_BIND=0.0.0.0
VOLUME /var/lib/mosaic
EXPOSE 3001
# Alive, not ready: a node whose store is away must not be restarted, its agents are at work.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/bin/bash", "-c", \
  "exec 3<>/dev/tcp/127.0.0.1/${ORCHESTRATOR_PORT:-3001} && printf 'GET /health HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && read -r line <&3 && [[ $line == *' 200 '* ]]"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["mosaic"]
CMD ["serve"]
