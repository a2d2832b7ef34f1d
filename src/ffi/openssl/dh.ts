/*++
/* NAME
/*	dh 3
/* SUMMARY
/*	bindings of OpenSSL: Diffie-Hellman parameters
/* DESCRIPTION
/*	Reads parameters from a file in PEM form, and configures an
/*	SSL_CTX with them. OpenSSL 3.0 and 1.1.1 have different functions
/*	for this; loadDhParameters() calls the right ones.
/*--*/

import {type Address, allocate} from '../libc/libc.ts';
import {libcrypto, libssl} from './binding.ts';
import type {Bio} from './bio.ts';
import {EVP_PKEY_free, type EvpPkey, type Pointer} from './libcrypto.ts';
import {SSL_CTX_ctrl, type SslCtx} from './ssl-ctx.ts';

type DecoderCtx = Pointer<'OSSL_DECODER_CTX'>;
type Dh = Pointer<'DH'>;

const scratch = allocate(8);

const EVP_PKEY_up_ref: (key: EvpPkey) => number = libcrypto.func('int EVP_PKEY_up_ref(void *pkey)');

const SSL_CTRL_SET_DH_AUTO = 118;
export function SSL_CTX_set_dh_auto(ctx: SslCtx, on: number): number {
	return SSL_CTX_ctrl(ctx, SSL_CTRL_SET_DH_AUTO, on, null);
}

const SSL_CTX_set0_tmp_dh_pkey: () => ((ctx: SslCtx, key: EvpPkey) => number) | undefined = libssl.optional(
	'int SSL_CTX_set0_tmp_dh_pkey(void *ctx, void *dhpkey)',
);
const OSSL_KEYMGMT_SELECT_DOMAIN_PARAMETERS = 0x04;
const OSSL_DECODER_CTX_new_for_pkey: () =>
	| ((
			key: Address,
			type: string,
			structure: null,
			keyType: string,
			selection: number,
			context: null,
			query: null,
	  ) => DecoderCtx | null)
	| undefined = libcrypto.optional(
	'void *OSSL_DECODER_CTX_new_for_pkey(void *pkey, const char *input_type, const char *input_struct, const char *keytype, int selection, void *libctx, const char *propquery)',
);
const OSSL_DECODER_from_bio: () => ((ctx: DecoderCtx, bio: Bio) => number) | undefined = libcrypto.optional(
	'int OSSL_DECODER_from_bio(void *ctx, void *in)',
);
const OSSL_DECODER_CTX_free: () => ((ctx: DecoderCtx) => void) | undefined = libcrypto.optional(
	'void OSSL_DECODER_CTX_free(void *ctx)',
);

/* OpenSSL 1.1.1. */
const PEM_read_bio_DHparams: () =>
	| ((bio: Bio, parameters: null, callback: null, argument: null) => Dh | null)
	| undefined = libcrypto.optional('void *PEM_read_bio_DHparams(void *bp, void *x, void *cb, void *u)');
const DH_free: () => ((parameters: Dh) => void) | undefined = libcrypto.optional('void DH_free(void *dh)');
const SSL_CTRL_SET_TMP_DH = 3;

/**
 * Configures contexts with the parameters of a file in PEM form.
 *
 * @param bio - the file; borrowed.
 * @returns `undecodable` if the file has no parameters, `refused` if a context does not accept them.
 */
export function loadDhParameters(contexts: readonly SslCtx[], bio: Bio): 'set' | 'undecodable' | 'refused' {
	const set0 = SSL_CTX_set0_tmp_dh_pkey();
	if (set0 === undefined) {
		return copyParameters(contexts, bio);
	}

	const parameters = decode(bio);
	if (parameters === undefined) {
		return 'undecodable';
	}

	const set = contexts.every(ctx => {
		/* A context that accepts the parameters owns a reference. */
		EVP_PKEY_up_ref(parameters);
		if (set0(ctx, parameters) === 1) {
			return true;
		}

		EVP_PKEY_free(parameters);
		return false;
	});
	EVP_PKEY_free(parameters);
	return set ? 'set' : 'refused';
}

function decode(bio: Bio): EvpPkey | undefined {
	scratch.view.setBigUint64(0, 0n, true);
	const decoder = OSSL_DECODER_CTX_new_for_pkey()?.(
		scratch.address,
		'PEM',
		null,
		'DH',
		OSSL_KEYMGMT_SELECT_DOMAIN_PARAMETERS,
		null,
		null,
	);
	if (decoder === undefined || decoder === null) {
		return undefined;
	}

	OSSL_DECODER_from_bio()?.(decoder, bio);
	OSSL_DECODER_CTX_free()?.(decoder);
	const key = scratch.view.getBigUint64(0, true);
	return key === 0n ? undefined : (key as EvpPkey);
}

function copyParameters(contexts: readonly SslCtx[], bio: Bio): 'set' | 'undecodable' | 'refused' {
	const parameters = PEM_read_bio_DHparams()?.(bio, null, null, null) ?? null;
	if (parameters === null) {
		return 'undecodable';
	}

	const set = contexts.every(
		ctx => SSL_CTX_ctrl(ctx, SSL_CTRL_SET_TMP_DH, 0, parameters as bigint as Address) === 1,
	);
	DH_free()?.(parameters);
	return set ? 'set' : 'refused';
}
