// The runner takes the host's own Node when it is called past npm: what is tested must be what is served.
const major = Number(process.versions.node.split('.')[0]);
if (major < 24) {
  throw new Error(`The tests ran on Node.js ${process.version}. Run them with \`npm test\`.`);
}
