/**
 * Goal: Paho Python works with the broker as its users expect, P2P included.
 * Method: the suite of library-suite.ts, with the program in python/.
 */
import { join } from 'node:path';
import { preparedFolder, programsFolder } from './client-process.ts';
import { testLibrary } from './library-suite.ts';

const program = { command: join(preparedFolder, 'python/bin/python'), args: [join(programsFolder, 'python/client.py')] };

testLibrary({ name: 'Paho Python, MQTT 3.1', version: 3, ...program });
testLibrary({ name: 'Paho Python, MQTT 3.1.1', version: 4, ...program });
testLibrary({ name: 'Paho Python, MQTT 5', version: 5, ...program });
