/** Installs both peers before the first test, so that a test's time-out measures the test. */
import { installCognitoLocal } from './cognito-local.ts';
import { findMoto } from './moto.ts';

export default async function setup(): Promise<void> {
  await findMoto();
  await installCognitoLocal();
}
