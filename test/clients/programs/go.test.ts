/**
 * Goal: Paho Go works with the broker as its users expect, P2P included.
 * Method: the suite of library-suite.ts, with the program in go/.
 */
import { join } from 'node:path';
import { preparedFolder } from './client-process.ts';
import { testLibrary } from './library-suite.ts';

// No subscription of these programs has a handler of its own: all messages arrive at the default handler.
testLibrary({ name: 'Paho Go, MQTT 3.1', version: 3, command: join(preparedFolder, 'client-v3'), args: [] });
testLibrary({ name: 'Paho Go, MQTT 3.1.1', version: 4, command: join(preparedFolder, 'client-v3'), args: [] });
testLibrary({ name: 'Paho Go, MQTT 5', version: 5, command: join(preparedFolder, 'client-v5'), args: [] });
