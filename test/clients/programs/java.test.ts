/**
 * Goal: Paho Java works with the broker as its users expect, P2P included.
 * Method: the suite of library-suite.ts, with the program in java/.
 */
import { join } from 'node:path';
import { preparedFolder } from './client-process.ts';
import { testLibrary } from './library-suite.ts';

const classes = `${join(preparedFolder, 'java')}:${join(preparedFolder, 'java')}/*`;
// A short life needs no optimising compiler.
const options = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-cp', classes];

testLibrary({ name: 'Paho Java, MQTT 3.1.1', version: 4, command: 'java', args: [...options, 'ClientV3'] });
testLibrary({ name: 'Paho Java, MQTT 5', version: 5, command: 'java', args: [...options, 'ClientV5'] });
