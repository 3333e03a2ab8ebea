// The page is built into `dist`, which is committed and embedded in the server. Names without
// hashes keep the diffs small; the server's ETags see to freshness.

import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  resolve: {
    alias: { "@millstream/client": new URL("../client/src/index.ts", import.meta.url).pathname },
  },
  build: {
    target: "es2022",
    outDir: process.env.MILLSTREAM_DIST ?? "dist",
    emptyOutDir: true,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: {
      output: {
        entryFileNames: "assets/page.js",
        assetFileNames: "assets/[name][extname]",
        codeSplitting: false,
      },
    },
  },
  server: {
    proxy: {
      "/api": { target: process.env.MILLSTREAM_URL ?? "http://127.0.0.1:8080", ws: true },
    },
  },
});
