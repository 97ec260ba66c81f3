import { startMoto } from './moto.ts';
import { describeSync } from './sync.ts';

describeSync('moto', startMoto);
