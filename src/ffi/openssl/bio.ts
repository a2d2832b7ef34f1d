/*++
/* NAME
/*	bio 3
/* SUMMARY
/*	bindings of OpenSSL's libcrypto and libssl: where bytes come from
/* DESCRIPTION
/*	C as it is, no policy, in the order of the headers. Macros of the
/*	header are functions here, under the macro's name.
/* SEE ALSO
/*	bio(7ssl), SSL_set_bio(3ssl)
/*--*/

import type {Fd} from '../../base/units.ts';
import type {Address} from '../libc/libc.ts';
import type {Ssl} from './libssl.ts';
import {libcrypto, libssl} from './openssl.ts';
import type {Bio, BioCallback} from './pem.ts';

type BioMethod = bigint & {readonly method: unique symbol};

/* bio.h */
export const BIO_s_mem: () => BioMethod = libcrypto.func('const void *BIO_s_mem(void)');
export const BIO_new: (method: BioMethod) => Bio | null = libcrypto.func('void *BIO_new(const void *type)');
export const BIO_up_ref: (bio: Bio) => number = libcrypto.func('int BIO_up_ref(void *a)');
export const BIO_write: (bio: Bio, data: Address, size: number) => number = libcrypto.func(
	'int BIO_write(void *b, const void *data, int dlen)',
);
export const BIO_number_read: (bio: Bio) => number | bigint = libcrypto.func(
	'uint64_t BIO_number_read(void *bio)',
);
export const BIO_get_callback_ex: (bio: Bio) => BioCallback | null = libcrypto.func(
	'void *BIO_get_callback_ex(const void *b)',
);
const BIO_ctrl: (bio: Bio, command: number, larg: number, parg: null) => number = libcrypto.func(
	'long BIO_ctrl(void *bp, int cmd, long larg, void *parg)',
);
export function BIO_pending(bio: Bio): number {
	return BIO_ctrl(bio, 10, 0, null);
}

/** What a read says when there is nothing: 0 for the end, -1 for later. */
export function BIO_set_mem_eof_return(bio: Bio, value: 0 | -1): void {
	BIO_ctrl(bio, 130, value, null);
}

/* ssl.h */
export const SSL_get_fd: (ssl: Ssl) => Fd = libssl.func('int SSL_get_fd(const void *s)');
export const SSL_get_wbio: (ssl: Ssl) => Bio | null = libssl.func('void *SSL_get_wbio(const void *s)');
export const SSL_set0_rbio: (ssl: Ssl, bio: Bio) => void = libssl.func(
	'void SSL_set0_rbio(void *s, void *rbio)',
);
