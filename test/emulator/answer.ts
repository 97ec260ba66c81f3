/**
 * Answers on the wire, right and wrong ones.
 */
import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { CognitoError } from './cognito-error.ts';
import type { Failure } from './faults.ts';

const BAD_GATEWAY = `<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n`;

/** @param answer a body, or the error to answer instead */
export function sendJson(response: ServerResponse, answer: string | CognitoError): void {
  response.end(head(response, answer), 'latin1');
}

/**
 * Carries a failure out on the connection.
 * @param answer what `drop-middle` sends one half of
 */
export function sendFailure(response: ServerResponse, failure: Failure, answer: string | CognitoError = ''): void {
  switch (failure.kind) {
    case 'error':
      sendJson(response, new CognitoError(failure.error, failure.message));
      return;
    case 'html':
      response.writeHead(502, { 'content-type': 'text/html', 'content-length': Buffer.byteLength(BAD_GATEWAY) });
      response.end(BAD_GATEWAY);
      return;
    case 'drop-before':
      response.destroy();
      return;
    case 'drop-middle': {
      const body = head(response, answer);
      if (body === '') response.destroy();
      else response.write(body.slice(0, body.length >> 1), 'latin1', () => response.destroy());
      return;
    }
    case 'hang':
  }
}

/** Writes status and headers. @returns the body that belongs to them */
function head(response: ServerResponse, answer: string | CognitoError): string {
  const failed = typeof answer !== 'string';
  // All bodies are ASCII: written as latin1 they are neither measured nor encoded.
  const body = failed ? answer.body() : answer;
  response.writeHead(failed ? answer.httpStatus : 200, {
    'content-type': 'application/x-amz-json-1.1',
    'content-length': body.length,
    'x-amzn-requestid': randomUUID(),
    ...(failed
      ? {
          'x-amzn-errortype': `${answer.name}:`,
          'x-amzn-errormessage': encodeURIComponent(answer.message.toWellFormed()),
        }
      : {}),
  });
  return body;
}
