/*++
/* NAME
/*	dh 3
/* SUMMARY
/*	Diffie-Hellman parameters of a server
/* DESCRIPTION
/*	Either those of a file, or those that OpenSSL chooses to fit the
/*	certificate.
/* DIAGNOSTICS
/*	A warning: handshakes go on with what OpenSSL chooses, or without
/*	this kind of key exchange.
/* SEE ALSO
/*	postfix src/tls/tls_dh.c, tls_set_dh_from_file(), tls_tmp_dh()
/*--*/

import {SSL_CTX_set_dh_auto, setParametersFrom} from '../ffi/dh.ts';
import {errno, strerror} from '../ffi/libc.ts';
import {ERR_clear_error} from '../ffi/libcrypto.ts';
import type {SslCtx} from '../ffi/libssl.ts';
import {BIO_free, BIO_new_file} from '../ffi/pem.ts';
import {warning} from '../log.ts';
import {printErrors} from './library.ts';

/**
 * Gives contexts their parameters.
 *
 * @param file - in PEM form; `auto` or empty for none.
 */
export function setParameters(contexts: readonly SslCtx[], file: string): void {
	ERR_clear_error();
	if (file !== '' && file !== 'auto' && given(contexts, file)) {
		return;
	}

	if (!contexts.every(ctx => SSL_CTX_set_dh_auto(ctx, 1) === 1)) {
		warning('error configuring auto DH parameters');
		printErrors();
	}
}

/* Whether the file has parameters, be they of use or not. */
function given(contexts: readonly SslCtx[], file: string): boolean {
	const bio = BIO_new_file(file, 'r');
	if (bio === null) {
		warning(`error opening DH parameter file "${file}": ${strerror(errno())} -- using compiled-in defaults`);
		ERR_clear_error();
		return false;
	}

	const result = setParametersFrom(contexts, bio);
	BIO_free(bio);
	if (result === 'set') {
		return true;
	}

	warning(
		result === 'refused'
			? 'error configuring explicit DH parameters'
			: `error decoding DH parameters from file "${file}" -- using compiled-in defaults`,
	);
	printErrors();
	return result === 'refused';
}
