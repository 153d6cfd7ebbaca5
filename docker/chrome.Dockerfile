# Chromium with the node helper. Build from the root of the source tree: docker build -f docker/chrome.Dockerfile .

FROM debian:trixie-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates chromium chromium-sandbox fonts-dejavu-core nodejs npm tini \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY node_helper/package.json node_helper/package-lock.json ./
RUN npm ci --omit=dev --no-audit --no-fund
COPY node_helper/src ./src
# Chromium keeps its sandbox, hence no root.
RUN useradd --uid 10002 --create-home chrome && install -d -o chrome -g chrome /profile
USER chrome
ENV PONTE_HELPER_HOST=0.0.0.0 \
    PONTE_HELPER_CDP_HOST=0.0.0.0 \
    PONTE_HELPER_PROFILE=/profile \
    PONTE_HELPER_CHROME=/usr/bin/chromium \
    PONTE_HELPER_URL=https://web.whatsapp.com/
VOLUME /profile
EXPOSE 3000 9223
ENTRYPOINT ["tini", "--", "node", "src/main.js"]
