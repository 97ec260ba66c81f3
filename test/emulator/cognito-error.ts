/**
 * Errors as the Cognito user pools API answers them.
 * Source: https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/CommonErrors.html and each operation's page.
 */
import { asciiJson } from './ascii-json.ts';

/** `name` is what the SDK's error will have as its `name`; `httpStatus` is 400 except where AWS documents 500. */
export class CognitoError extends Error {
  readonly httpStatus: number;

  constructor(name: string, message: string) {
    super(message);
    this.name = name;
    this.httpStatus = name === 'InternalErrorException' ? 500 : 400;
  }

  /** The answer's body. IAM's own refusals spell `Message` with a capital, as the real service does. */
  body(): string {
    const key = this.name === 'AccessDeniedException' ? 'Message' : 'message';
    return asciiJson({ __type: this.name, [key]: this.message });
  }
}

export const invalidParameter = (message: string): CognitoError =>
  new CognitoError('InvalidParameterException', message);
export const userNotFound = (): CognitoError => new CognitoError('UserNotFoundException', 'User does not exist.');
export const notAuthorized = (message: string): CognitoError => new CognitoError('NotAuthorizedException', message);

/** The constraint messages of the real service have this shape. */
export const failedConstraint = (value: unknown, member: string, constraint: string): CognitoError =>
  invalidParameter(
    `1 validation error detected: Value '${String(value)}' at '${member}' failed to satisfy constraint: ${constraint}`,
  );
