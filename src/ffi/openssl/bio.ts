/*++
/* NAME
/*	bio 3
/* SUMMARY
/*	bindings of OpenSSL: BIO
/* DESCRIPTION
/*	Functions of openssl/bio.h. They do what C does, and add no policy.
/*	Macros of the header are functions with the name of the macro.
/* SEE ALSO
/*	bio(7ssl), SSL_set_bio(3ssl)
/*--*/

import type {Address} from '../libc/libc.ts';
import {libcrypto} from './binding.ts';
import type {Pointer} from './libcrypto.ts';

export type Bio = Pointer<'BIO'>;

/** A function of this program that OpenSSL can call: see callback(3). */
export type BioCallback = Pointer<'BIO callback'>;
type BioMethod = Pointer<'BIO_METHOD'>;

export const BIO_s_mem: () => BioMethod = libcrypto.func('const void *BIO_s_mem(void)');
export const BIO_new: (method: BioMethod) => Bio | null = libcrypto.func('void *BIO_new(const void *type)');
export const BIO_new_file: (path: Uint8Array, mode: string) => Bio | null = libcrypto.func(
	'void *BIO_new_file(const char *path, const char *mode)',
);
export const BIO_up_ref: (bio: Bio) => number = libcrypto.func('int BIO_up_ref(void *a)');
export const BIO_free: (bio: Bio) => number = libcrypto.func('int BIO_free(void *bio)');
export const BIO_write: (bio: Bio, data: Address | Uint8Array, size: number) => number = libcrypto.func(
	'int BIO_write(void *b, const void *data, int dlen)',
);
export const BIO_number_read: (bio: Bio) => number | bigint = libcrypto.func(
	'uint64_t BIO_number_read(void *bio)',
);
export const BIO_get_callback_ex: (bio: Bio) => BioCallback | null = libcrypto.func(
	'void *BIO_get_callback_ex(const void *b)',
);
export const BIO_set_callback_ex: (bio: Bio, callback: BioCallback | null) => void = libcrypto.func(
	'void BIO_set_callback_ex(void *bio, void *callback)',
);
const BIO_ctrl: (bio: Bio, command: number, larg: number, parg: null) => number = libcrypto.func(
	'long BIO_ctrl(void *bp, int cmd, long larg, void *parg)',
);
const BIO_CTRL_PENDING = 10;
const BIO_C_SET_BUF_MEM_EOF_RETURN = 130;

export function BIO_pending(bio: Bio): number {
	return BIO_ctrl(bio, BIO_CTRL_PENDING, 0, null);
}

/** Sets the result of a read from an empty memory BIO: 0 is end-of-file, -1 is retry. */
export function BIO_set_mem_eof_return(bio: Bio, value: 0 | -1): void {
	BIO_ctrl(bio, BIO_C_SET_BUF_MEM_EOF_RETURN, value, null);
}

/** A memory BIO with a copy of some bytes, which the caller owns; null without memory. */
export function bioOf(bytes: Uint8Array): Bio | null {
	const bio = BIO_new(BIO_s_mem());
	if (bio !== null && bytes.length > 0) {
		BIO_write(bio, bytes, bytes.length);
	}

	return bio;
}
