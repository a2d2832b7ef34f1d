/*++
/* NAME
/*	ssl-registry 3
/* SUMMARY
/*	finds the state of a connection in an OpenSSL callback
/* DESCRIPTION
/*	A callback gets the SSL pointer of its connection and nothing else.
/*	The state that it needs is registered under that pointer.
/*
/*	OpenSSL may allocate a later SSL at the address of a released one.
/*	So the registration must not outlive the SSL, and its disposal
/*	removes only the value that it has registered.
/*--*/

import type {Ssl} from '../ffi/openssl/ssl.ts';

/** Values by SSL pointer. The registry does not own the values. */
export class SslRegistry<Value> {
	readonly #values = new Map<Ssl, Value>();

	/** The value of a connection; undefined if it has none. */
	get(ssl: Ssl): Value | undefined {
		return this.#values.get(ssl);
	}

	/**
	 * Registers a value.
	 *
	 * @param ssl - borrowed; must not be released before the registration is disposed.
	 * @returns the registration: its disposal removes the value.
	 */
	register(ssl: Ssl, value: Value): Disposable {
		this.#values.set(ssl, value);
		return new Registration(this.#values, ssl, value);
	}
}

/* An object with three fields: a session has up to three of these, and a closure would be larger. */
class Registration<Value> implements Disposable {
	readonly #values: Map<Ssl, Value>;
	readonly #ssl: Ssl;
	#value: Value | undefined;

	constructor(values: Map<Ssl, Value>, ssl: Ssl, value: Value) {
		this.#values = values;
		this.#ssl = ssl;
		this.#value = value;
	}

	[Symbol.dispose](): void {
		const value = this.#value;
		this.#value = undefined;
		if (value !== undefined && this.#values.get(this.#ssl) === value) {
			this.#values.delete(this.#ssl);
		}
	}
}
