import { loadConfig } from '../../src/config.ts';
import { openStoreAdmin } from '../../src/open-store.ts';
import { startServer } from '../../src/server.ts';
import { type FaultPoint, setFaultHandler } from '../../src/stores/fault-points.ts';

/**
 * A server, or a migration, that dies at a named point: `fault-child.ts POINT TIMES FLAG…`. It is killed as by SIGKILL
 * when it gets to POINT for the TIMES-th time; never with 0. A server tells its parent its address; a migration, that
 * it is done.
 */
const [point = '', times = '0', ...argv] = process.argv.slice(2);

let reached = 0;
setFaultHandler((at: FaultPoint) => {
  if (at !== point) return;
  reached += 1;
  if (reached === Number(times)) process.kill(process.pid, 'SIGKILL');
});

const config = loadConfig({ argv });
if (point === 'during_migration') {
  const admin = await openStoreAdmin(config);
  const { version } = await admin.migrate();
  await admin.close();
  process.send?.(version);
  process.disconnect?.();
} else {
  const { url } = await startServer(config);
  process.send?.(url);
}
