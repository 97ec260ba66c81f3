import { startCognitoLocal } from './cognito-local.ts';
import { describeSync } from './sync.ts';

describeSync('cognito-local', startCognitoLocal);
