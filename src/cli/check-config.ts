/**
 * `onehop check-config`: says whether a configuration would start, without starting anything.
 *
 * It looks at the same sources as `start`: file, environment and `--set`, and at the files of statements, users, devices, block rules and API keys that these name. It
 * binds no port, so a port in use is not its business.
 */
import { print } from './output.ts';

/**
 * @param file path of the YAML file
 * @param set `key=value` each
 * @throws ConfigError with every problem
 */
export async function checkConfig(file: string, set: readonly string[] | undefined): Promise<void> {
  const { ConfigError, loadSettings } = await import('../server/config.ts');
  const { fileProblems } = await import('../server/config-files.ts');
  const { placeOf } = await import('../server/listener-schema.ts');
  const settings = await loadSettings({ file, env: process.env, set });
  const problems = fileProblems(settings);
  if (problems.length > 0) throw new ConfigError(1, problems);
  const places = settings.listeners.map((listener) => `${listener.type} ${placeOf(listener)}`);
  print(`${file}: ok (${places.join(', ')}; ${settings.shards} ${settings.shards === 1 ? 'shard' : 'shards'})`);
}
