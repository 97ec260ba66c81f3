/** Vitest's global set-up of the project `chart`. */
import { installTools } from './tools.ts';

export default installTools;
