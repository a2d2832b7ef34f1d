/* Reports are tested with the releases of Postfix that have them. */
import test from 'ava';
import {hasTlsrpt, loadTlsrpt, sendFailure} from '../../src/ffi/libtlsrpt.ts';

test('without libtlsrpt, sending a report fails with a text', t => {
	t.throws(() => loadTlsrpt('libtlsrpt.so.99'), {message: /cannot open shared object file/});
	t.false(hasTlsrpt());
	t.deepEqual(
		sendFailure({
			socket: '/nonexistent',
			domain: 'a.example',
			record: 'v=TLSRPTv1;rua=mailto:a@a.example',
			policyType: 9,
			policyDomain: '',
			policyStrings: [],
			mxHostPatterns: [],
			failureCode: 201,
			sendingAddress: '',
			receivingName: '',
			receivingHelo: '',
			receivingAddress: '',
			reason: '',
		}),
		{code: 0, text: 'libtlsrpt is not loaded'},
	);
});

test('a library without the functions of libtlsrpt is rejected', t => {
	t.throws(() => loadTlsrpt('libc.so.6'), {message: /tlsrpt_open/});
	t.false(hasTlsrpt());
});
