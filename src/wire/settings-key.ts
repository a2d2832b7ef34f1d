/*++
/* NAME
/*	settings-key 3
/* SUMMARY
/*	a key for the settings that select an SSL_CTX
/* DESCRIPTION
/*	Two requests share an SSL_CTX if their settings have the same key.
/*	Lists are compared by their elements: Postfix ignores how they are
/*	separated, and the defaults of some lists end with a blank that
/*	postconf(1) does not print. An empty list setting differs from one
/*	that contains only separators. All other settings are compared as
/*	text.
/*--*/

import {cacheKey} from '../base/cache-key.ts';
import {splitList} from '../base/text.ts';
import type {AttributeList} from './attribute-list.ts';

/* Settings that Postfix splits at CHARS_COMMA_SP. Some are also split at other characters. */
const lists: ReadonlySet<string> = new Set([
	'chain_files',
	'log_level',
	'protocols',
	'tls_dane_digests',
	'tls_disable_workarounds',
	'tls_eecdh_auto_curves',
	'tls_ffdhe_auto_groups',
	'tls_ssl_options',
]);

/** The key of settings, in the form in which clients send them. */
export function settingsKey(list: AttributeList): string {
	return cacheKey(...list.flatMap(([name, value]) => [name, lists.has(name) ? elementsOf(value) : value]));
}

function elementsOf(value: string): string {
	return value === '' ? '' : `list:${cacheKey(...splitList(value))}`;
}
