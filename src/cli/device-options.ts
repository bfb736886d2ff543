/**
 * The commands `onehop device …` as the command line knows them; what they do is in `device.ts`, which is loaded when one is called.
 */
import { type Command, Option } from 'commander';
import type { DeviceOptions } from './device.ts';
import { example } from './example.ts';

/** An option that may be given several times. */
function several(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value];
}

export function deviceCommands(root: Command): void {
  const device = root.command('device').description('Say which devices may connect, each with a secret of its own.');
  const id = ['<id>', 'device ID, which is its Client Identifier'] as const;
  const file = ['--file <file>', 'file of devices; else ONEHOP_DEVICES_FILE, else ./devices.json'] as const;
  const json = ['--json', 'as JSON'] as const;
  const property = ['--property <key=value>', 'User Property that each of its messages carries; may be repeated', several] as const;
  const attribute = ['--attribute <name=value>', 'what rules may ask for; may be repeated', several] as const;
  const key = (text: string): Option => new Option('--key <name>', text).choices(['primary', 'secondary']).default('primary');
  device.addHelpText('after', example('onehop device add pump-7 --property site=hall-2'));

  device
    .command('add')
    .description('Add a device. Its keys are printed once.')
    .argument(...id)
    .option(...file)
    .option(...property)
    .option(...attribute)
    .option('--disabled', 'it may not connect yet')
    .option(...json)
    .addHelpText('after', example('onehop device add pump-7 --property site=hall-2'))
    .action(async (deviceId: string, options: DeviceOptions) => (await import('./device.ts')).addDevice(deviceId, options));

  device
    .command('set')
    .description('Give a device other properties or attributes, in place of those that it has.')
    .argument(...id)
    .option(...file)
    .option(...property)
    .option(...attribute)
    .addHelpText('after', example('onehop device set pump-7 --property release=beta'))
    .action(async (deviceId: string, options: DeviceOptions) => (await import('./device.ts')).setDevice(deviceId, options));

  device
    .command('rotate')
    .description('Make another key in the place of one. Who is connected with the old one is disconnected.')
    .argument(...id)
    .option(...file)
    .addOption(key('which one'))
    .option(...json)
    .addHelpText('after', example('onehop device rotate pump-7 --key secondary'))
    .action(async (deviceId: string, options: DeviceOptions) => (await import('./device.ts')).rotateKey(deviceId, options));

  for (const [word, isEnabled, description] of [
    ['enable', true, 'Let a device connect again.'],
    ['disable', false, 'Treat a device as if it were not in the file. It is disconnected.'],
  ] as const)
    device
      .command(word)
      .description(description)
      .argument(...id)
      .option(...file)
      .addHelpText('after', example(`onehop device ${word} pump-7`))
      .action(async (deviceId: string, options: DeviceOptions) => (await import('./device.ts')).enableDevice(deviceId, isEnabled, options));

  device
    .command('list')
    .description('Say which devices are in the file. Keys are not shown.')
    .option(...file)
    .option('--json', 'as lines of JSON')
    .addHelpText('after', example('onehop device list'))
    .action(async (options: DeviceOptions) => (await import('./device.ts')).listDevices(options));

  device
    .command('remove')
    .description('Take a device away. It is disconnected.')
    .argument(...id)
    .option(...file)
    .addHelpText('after', example('onehop device remove pump-7'))
    .action(async (deviceId: string, options: DeviceOptions) => (await import('./device.ts')).removeDevice(deviceId, options));

  device
    .command('token')
    .description('Print a token of a device, for its password.')
    .argument(...id)
    .option(...file)
    .addOption(key('which one signs it'))
    .option('--expires <time>', 'how long it is valid', '1h')
    .addHelpText('after', example('onehop device token pump-7 --expires 1h'))
    .action(async (deviceId: string, options: DeviceOptions) => (await import('./device.ts')).printToken(deviceId, options));

  device
    .command('import')
    .description('Add many devices: CSV with names in its first line, or a line of JSON for each. Keys that are missing are made.')
    .argument('[source]', 'file to read; standard input otherwise')
    .option(...file)
    .option('--replace', 'a device that is there already becomes what the list says; it keeps keys that the list does not have')
    .option('--json', 'print the keys that were made, as lines of JSON')
    .addHelpText('after', example('onehop device import fleet.csv', 'columns: deviceId,property.site,attribute.group'))
    .action(async (source: string | undefined, options: DeviceOptions) => (await import('./device.ts')).importFleet(source, options));
}
