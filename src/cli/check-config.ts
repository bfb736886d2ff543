/**
 * `onehop check-config`: says whether a configuration would start, without starting anything.
 *
 * It looks at the same sources as `start`: file, environment and `--set`. It binds no port, so a port in use is not its business.
 */

/**
 * @param file path of the YAML file
 * @param set `key=value` each
 * @throws ConfigError with every problem
 */
export async function checkConfig(file: string, set: readonly string[] | undefined): Promise<void> {
  const { loadSettings } = await import('../server/config.ts');
  const { placeOf } = await import('../server/listener-schema.ts');
  const settings = await loadSettings({ file, env: process.env, set });
  const places = settings.listeners.map((listener) => `${listener.type} ${placeOf(listener)}`);
  process.stdout.write(`${file}: ok (${places.join(', ')}; ${settings.shards} ${settings.shards === 1 ? 'shard' : 'shards'})\n`);
}
