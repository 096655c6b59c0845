# The image of `kai serve`. Built from a clone: docker build -t kai .
FROM rust:1.95-slim-bookworm AS builder
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN make release && install -d -m 700 /image/data /image/key /image/cache

# glibc, libgcc, root certificates, and no shell.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=builder /source/target/release/kai /usr/bin/kai
COPY --from=builder --chown=65532:65532 /image/data /data
COPY --from=builder --chown=65532:65532 /image/key /key
COPY --from=builder --chown=65532:65532 /image/cache /cache
# The key to the stored tokens is /key/kai/master.key, made with the first token, or what KAI_MASTER_KEY holds. Never on
# the volume of the data: a copy of that one opens nothing.
ENV XDG_CONFIG_HOME=/key XDG_CACHE_HOME=/cache
# By number, so that Kubernetes sees that it is not root.
USER 65532:65532
VOLUME ["/data", "/key"]
EXPOSE 8080
# No HEALTHCHECK: there is nothing in the image that could ask. Let what runs the container ask /healthz and /readyz.
ENTRYPOINT ["/usr/bin/kai"]
CMD ["serve", "--data", "/data", "--listen", "0.0.0.0:8080"]
