// Reads [{tex, display}] as JSON, writes [{mathml} or {error}]: one run for a whole build.
const temml = require(process.argv[2]);
const wanted = JSON.parse(require("fs").readFileSync(0, "utf8"));
const made = wanted.map(({ tex, display }) => {
  try {
    const options = { displayMode: display, throwOnError: true, strict: true, wrap: "none" };
    return { mathml: temml.renderToString(tex, options) };
  } catch (error) {
    return { error: String(error.message || error).split("\n")[0] };
  }
});
process.stdout.write(JSON.stringify(made));
