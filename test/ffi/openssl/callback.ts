import test from 'ava';
import {allocate, EAGAIN, errno, read, setErrno} from '../../../src/ffi/libc/libc.ts';
import {BIO_free, BIO_new, BIO_s_mem, BIO_set_callback_ex, BIO_write} from '../../../src/ffi/openssl/bio.ts';
import {registerBioCallback} from '../../../src/ffi/openssl/callback.ts';
import {socketPair} from '../../helpers/descriptors.ts';

const block = allocate(128);

test('the caller of OpenSSL finds errno unchanged by a callback', t => {
	const [empty] = socketPair(t);
	let runs = 0;
	const callback = registerBioCallback(() => {
		runs++;
		t.is(read(empty.fd, block.address, 1), -1);
		t.is(errno(), EAGAIN);
	});
	const bio = BIO_new(BIO_s_mem());
	if (bio === null) {
		t.fail('no BIO');
		return;
	}

	BIO_set_callback_ex(bio, callback);
	for (const before of [0, 2]) {
		setErrno(before);
		t.is(BIO_write(bio, block.address, 5), 5);
		t.is(errno(), before);
	}

	t.is(runs, 2);
	BIO_free(bio);
});
