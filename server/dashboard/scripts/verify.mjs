// Builds the page into a folder beside `dist` and compares the two: what is committed must be what
// the sources give. Says which files differ, and what to do.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL("..", import.meta.url));
const fresh = mkdtempSync(join(tmpdir(), "millstream-dist-"));

/** Every file of a folder by its path in it. */
function files(folder) {
  const found = readdirSync(folder, { recursive: true, withFileTypes: true });
  const names = found
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(folder.length + 1));
  return new Map(names.sort().map((name) => [name, readFileSync(join(folder, name))]));
}

try {
  const env = { ...process.env, MILLSTREAM_DIST: fresh };
  execFileSync("npm", ["run", "--silent", "build"], { cwd: here, env, stdio: "inherit" });
  const [built, committed] = [files(fresh), files(join(here, "dist"))];
  const names = [...new Set([...built.keys(), ...committed.keys()])].sort();
  const different = names.filter((name) => {
    const [one, other] = [built.get(name), committed.get(name)];
    return one === undefined || other === undefined || !one.equals(other);
  });
  if (different.length > 0) {
    console.error(`dist is not what the sources give: ${different.join(", ")}`);
    console.error("run `make dashboard` and commit server/dashboard/dist");
    process.exitCode = 1;
  } else {
    console.log(`dist is up to date (${names.length} files)`);
  }
} finally {
  rmSync(fresh, { recursive: true, force: true });
}
