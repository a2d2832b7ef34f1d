/*++
/* NAME
/*	keyring 3
/* SUMMARY
/*	identities and authorities that were loaded as root
/* DESCRIPTION
/*	Behind the jail a process can read neither the keys of its clients
/*	nor, as a rule, the certificates that they trust. So the files that
/*	any client is configured with are loaded before, each set of files
/*	once, into a context of its own that makes no connection. An
/*	application whose settings name the same files gets them from
/*	there, whatever its other settings are.
/*
/*	A set that could not be loaded is remembered as well: its clients
/*	are refused, and those of other sets are not affected.
/* SEE ALSO
/*	certificates(3), application(3)
/*--*/

import {
	copyAuthorities,
	copyIdentity,
	SSL_CTX_free,
	SSL_CTX_new,
	SSL_CTX_set_security_level,
	type SslCtx,
	TLS_client_method,
} from '../ffi/libssl.ts';
import {info, warning} from '../log.ts';
import {Owned} from '../owned.ts';
import {type IdentityFiles, loadAuthorities, loadIdentity, namedFiles} from './certificates.ts';
import {printErrors} from './library.ts';

/** The files that a client's settings name. */
export interface MaterialFiles extends IdentityFiles {
	readonly CAfile: string;
	readonly CApath: string;
}

/* What was loaded; undefined: it could not be. */
type Entry = Owned<SslCtx> | undefined;

/** What was loaded before the jail. */
export class Keyring implements Disposable {
	readonly #identities = new Map<string, Entry>();
	readonly #authorities = new Map<string, Entry>();

	/**
	 * Loads the files of a client, unless they are here.
	 *
	 * @param appendDefault - tls_append_default_CA.
	 * @returns false when something could not be loaded; the reason has been logged.
	 */
	load(files: MaterialFiles, appendDefault: boolean): boolean {
		const identity = find(this.#identities, identityKey(files), ctx => loadIdentity(ctx, files));
		const authorities = find(this.#authorities, authorityKey(files, appendDefault), ctx =>
			loadAuthorities(ctx, files.CAfile, files.CApath, appendDefault),
		);
		return identity !== undefined && authorities !== undefined;
	}

	/** Whether all files that a client names are here, or known to be broken. */
	has(files: MaterialFiles, appendDefault: boolean): boolean {
		return (
			(namedFiles(files).length === 0 || this.#identities.has(identityKey(files))) &&
			(authoritiesOf(files) === '' || this.#authorities.has(authorityKey(files, appendDefault)))
		);
	}

	/**
	 * Gives a context the identity that its settings name; reads the files when they are not here.
	 *
	 * @returns false when there is none to give; the reason has been logged.
	 */
	giveIdentity(ctx: SslCtx, files: IdentityFiles): boolean {
		const key = identityKey(files);
		if (!this.#identities.has(key)) {
			return loadIdentity(ctx, files);
		}

		const entry = this.#identities.get(key);
		if (entry === undefined) {
			warning(`${namedFiles(files).join(', ')}: could not be loaded when this process started`);
			return false;
		}

		if (!copyIdentity(entry.value, ctx)) {
			warning(`${namedFiles(files).join(', ')}: cannot be used again: disabling TLS support`);
			printErrors();
			return false;
		}

		return true;
	}

	/** The same for trusted certificates. */
	giveAuthorities(ctx: SslCtx, files: MaterialFiles, appendDefault: boolean): boolean {
		const key = authorityKey(files, appendDefault);
		if (!this.#authorities.has(key)) {
			return loadAuthorities(ctx, files.CAfile, files.CApath, appendDefault);
		}

		const entry = this.#authorities.get(key);
		if (entry === undefined) {
			info(`${authoritiesOf(files)}: could not be loaded when this process started`);
			return false;
		}

		copyAuthorities(entry.value, ctx);
		return true;
	}

	[Symbol.dispose](): void {
		for (const entries of [this.#identities, this.#authorities]) {
			for (const entry of entries.values()) {
				entry?.[Symbol.dispose]();
			}

			entries.clear();
		}
	}
}

function find(entries: Map<string, Entry>, key: string, load: (ctx: SslCtx) => boolean): Entry {
	if (!entries.has(key)) {
		entries.set(key, make(load));
	}

	return entries.get(key);
}

function make(load: (ctx: SslCtx) => boolean): Entry {
	const made = SSL_CTX_new(TLS_client_method());
	if (made === null) {
		warning('cannot allocate client SSL_CTX: disabling TLS support');
		printErrors();
		return undefined;
	}

	using ctx = new Owned(made, SSL_CTX_free);
	/* What is good enough is decided by the settings of connections. */
	SSL_CTX_set_security_level(made, 0);
	return load(made) ? ctx.move() : undefined;
}

function identityKey(files: IdentityFiles): string {
	const {chain_files, cert_file, key_file, dcert_file, dkey_file, eccert_file, eckey_file} = files;
	return [chain_files, cert_file, key_file, dcert_file, dkey_file, eccert_file, eckey_file].join('\n');
}

function authorityKey({CAfile, CApath}: MaterialFiles, appendDefault: boolean): string {
	return [CAfile, CApath, String(appendDefault)].join('\n');
}

function authoritiesOf({CAfile, CApath}: MaterialFiles): string {
	return [CAfile, CApath].filter(name => name !== '').join(', ');
}
