# Builds a static binary and puts it, alone, into an image without a shell.
#
#   docker build -t staleproof .
#   docker run -p 8080:8080 -v "$PWD/proxy.yaml:/etc/staleproof/proxy.yaml:ro" staleproof

FROM rust:1.95-alpine AS build
# The cryptography library is C and assembler.
RUN apk add --no-cache musl-dev gcc g++ make cmake perl
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked && cp target/release/staleproof /staleproof

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /staleproof /usr/bin/staleproof
COPY proxy.yaml /etc/staleproof/proxy.yaml
ENV STALEPROOF_CONFIG=/etc/staleproof/proxy.yaml
USER nonroot
EXPOSE 8080
# The admin listener stays on the container's own loopback; the check runs inside.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/usr/bin/staleproof", "health"]
ENTRYPOINT ["/usr/bin/staleproof"]
CMD ["run"]
