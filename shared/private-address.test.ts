import { describe, expect, it } from 'vitest';
import { isPrivateAddress, isPrivateHost } from './private-address.ts';

describe('private addresses', () => {
  it.each([
    ...[
      '0.0.0.0',
      '10.1.2.3',
      '100.64.0.1',
      '127.0.0.1',
      '169.254.169.254',
      '172.31.255.255',
      '192.168.0.1',
      '224.0.0.1',
      '255.255.255.255',
    ],
    ...['::', '::1', 'fd00:ec2::254', 'fe80::1', '::ffff:10.0.0.1', '::ffff:7f00:1', '64:ff9b::a00:1', '2002:a00:1::'],
  ])('%s is one', (address) => {
    expect(isPrivateAddress(address)).toBe(true);
  });

  it.each(['1.1.1.1', '172.32.0.1', '100.128.0.1', '2606:4700::1111', '::ffff:1.1.1.1'])('%s is none', (address) => {
    expect(isPrivateAddress(address)).toBe(false);
  });

  it('sees them in the host of a URL, however it is written', () => {
    const hosts = [
      'http://2130706433/',
      'http://0x7f.1/',
      'http://[::1]/',
      'http://LOCALHOST./',
      'http://a.localhost/',
      'http://[::ffff:a9fe:a9fe]/',
    ];
    expect(hosts.filter((url) => !isPrivateHost(new URL(url).hostname))).toEqual([]);
    expect(isPrivateHost('example.com')).toBe(false);
  });
});
