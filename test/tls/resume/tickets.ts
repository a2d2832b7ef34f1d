import test from 'ava';
import {drainErrors} from '../../../src/ffi/openssl/libcrypto.ts';
import {ticketCipher} from '../../../src/tls/resume/tickets.ts';
import {collectLog} from '../../helpers/openssl.ts';

for (const name of ['aes-128-cbc', 'aes-256-cbc', 'AES-192-CBC', 'camellia-256-cbc']) {
	test.serial(`${name} can encrypt tickets`, t => {
		const log = collectLog();
		const cipher = ticketCipher(name);
		t.truthy(cipher);
		t.is(ticketCipher(name), cipher);
		t.deepEqual(log, []);
	});
}

for (const name of ['', 'nonsense', 'aes-256-gcm', 'aes-256-ctr', 'des-ede3-cbc']) {
	test.serial(`"${name}" cannot encrypt tickets, which is logged each time`, t => {
		const log = collectLog();
		t.is(ticketCipher(name), undefined);
		t.is(ticketCipher(name), undefined);
		const line = `warning: tls_session_ticket_cipher: invalid value: ${name}; session tickets disabled`;
		t.deepEqual(log, [line, line]);
		t.deepEqual(drainErrors(), []);
	});
}

test.serial('a cipher is found again after its name was dropped from the cache', t => {
	const log = collectLog();
	const cipher = ticketCipher('aes-256-cbc');
	for (let index = 0; index < 20; index++) {
		t.is(ticketCipher(`nonsense-${index}`), undefined);
	}

	t.is(ticketCipher('aes-256-cbc'), cipher);
	t.is(log.length, 20);
});
