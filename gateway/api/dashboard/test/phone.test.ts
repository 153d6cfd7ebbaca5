import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { callFault, dialled, microphoneFault, registrationFault, sipUri, urlFault } from '../src/views/phone/rules.ts';

describe('the URL of the softphone', () => {
  const plain = { protocol: 'http:', hostname: '127.0.0.1' };
  const secure = { protocol: 'https:', hostname: 'ponte.example.com' };

  it('is a WebSocket, encrypted but to the very host of an unencrypted page', () => {
    assert.equal(urlFault('wss://ponte.example.com:8443', secure), null);
    assert.equal(urlFault(' wss://pbx.example.net/ws ', plain), null);
    assert.equal(urlFault('ws://127.0.0.1:8088', plain), null);
    assert.equal(urlFault('ws://ponte.example.com:8088', secure), 'url_plain_from_secure_page');
    assert.equal(urlFault('ws://10.0.0.7:8088', plain), 'url_plain_elsewhere');
    assert.equal(urlFault('  ', plain), 'url_missing');
    for (const wrong of ['ponte', 'https://ponte.example.com', 'wss://', 'wss://user:secret@host', 'wss://host/#x', 'javascript:alert(1)'])
      assert.equal(urlFault(wrong, plain), 'url_wrong', wrong);
  });

  it('gives the domain of the SIP URI', () => {
    assert.equal(sipUri('alice', 'wss://ponte.example.com:8443/ws'), 'sip:alice@ponte.example.com');
    assert.equal(sipUri('+5511999990000', 'ws://127.0.0.1:1'), 'sip:+5511999990000@127.0.0.1');
    assert.equal(sipUri('*1#', 'wss://h'), 'sip:*1%23@h');
    assert.equal(sipUri('a@b', 'wss://h'), 'sip:a%40b@h');
  });
});

describe('what is dialled', () => {
  it('may be written as people write numbers', () => {
    assert.deepEqual(dialled('+55 (11) 99999-0000'), { number: '+5511999990000' });
    assert.deepEqual(dialled(' *97# '), { number: '*97#' });
    assert.deepEqual(dialled('reception'), { number: 'reception' });
  });

  it('is nothing else', () => {
    assert.deepEqual(dialled(' - '), { fault: 'number_missing' });
    for (const wrong of ['++1', '1+1', 'a@b', 'sip:1', '1;x=y', '1'.repeat(33), '<1>']) assert.deepEqual(dialled(wrong), { fault: 'number_wrong' }, wrong);
  });
});

describe('failures of the softphone', () => {
  it('of the registration are told by the status', () => {
    assert.deepEqual([null, 401, 403, 404, 407, 500].map(registrationFault), [
      'no_answer_from_server',
      'wrong_password',
      'too_many_phones',
      'unknown_user',
      'wrong_password',
      'refused',
    ]);
  });

  it('of a call are told by the status first, then by the cause', () => {
    assert.equal(callFault('Terminated', null), null);
    assert.equal(callFault('Canceled', 487), null);
    assert.equal(callFault('Busy', 486), 'busy');
    assert.equal(callFault('Rejected', 603), 'declined');
    assert.equal(callFault('Unavailable', 503), 'unavailable');
    assert.equal(callFault('Authentication Error', 401), 'wrong_password');
    assert.equal(callFault('Not Found', 404), 'not_found');
    assert.equal(callFault('Address Incomplete', 484), 'not_found');
    assert.equal(callFault('Connection Error', null), 'no_connection');
    assert.equal(callFault('Request Timeout', null), 'no_answer_from_server');
    assert.equal(callFault('WebRTC Error', null), 'media');
    assert.equal(callFault('SIP Failure Code', 500), 'failed');
    assert.equal(callFault('No Answer', null), null);
  });

  it('of the microphone are told by the error', () => {
    assert.deepEqual(['NotAllowedError', 'NotFoundError', 'NotReadableError'].map(microphoneFault), [
      'microphone_denied',
      'microphone_missing',
      'microphone_failed',
    ]);
  });
});
