import test from 'ava';
import fc from 'fast-check';
import {drainErrors, nonNull} from '../../src/ffi/openssl/libcrypto.ts';
import {SSL_CTX_free, SSL_CTX_new, TLS_client_method} from '../../src/ffi/openssl/ssl-ctx.ts';
import {setGroups} from '../../src/tls/context/groups.ts';
import {
	type CipherGrades,
	type CipherList,
	cipherList,
	contextOptions,
	type ProtocolRange,
	parseProtocols,
} from '../../src/tls/option-lists.ts';
import {collectLog, postfix37} from '../helpers/openssl.ts';

/* Source: openssl/ssl.h of OpenSSL 3.0. */
const NO_SSLv3 = 0x02000000;
const NO_TLSv1 = 0x04000000;
const NO_TLSv1_1 = 0x10000000;
const NO_TLSv1_2 = 0x08000000;
const NO_TLSv1_3 = 0x20000000;
const EVERY = 0x3e000000;

const parses = test.macro<[list: string, disabled: number, minimum?: number, maximum?: number]>({
	exec(t, list, disabled, minimum = 0, maximum = 0) {
		t.deepEqual<ProtocolRange | undefined, ProtocolRange>(parseProtocols(list), {disabled, minimum, maximum});
	},
	title(_, list) {
		return `parseProtocols accepts "${list}"`;
	},
});

test(parses, '', 0);
test(parses, '!SSLv2, !SSLv3', NO_SSLv3);
test(parses, '!SSLv2:!SSLv3:!TLSv1', NO_SSLv3 | NO_TLSv1);
test(parses, '!sslv3 !tlsv1 !TLSV1.1', NO_SSLv3 | NO_TLSv1 | NO_TLSv1_1);
test(parses, 'TLSv1.2', EVERY & ~NO_TLSv1_2);
test(parses, 'TLSv1.2, TLSv1.3', NO_SSLv3 | NO_TLSv1 | NO_TLSv1_1);
test(parses, 'TLSv1.2:!TLSv1.2', EVERY);
test(parses, 'TLSv1.2 TLSv1.3 !TLSv1.3', EVERY & ~NO_TLSv1_2);
/* SSLv2 is accepted and has no effect, so the list includes no version. */
test(parses, 'SSLv2', 0);
test(parses, 'SSLv2 SSLv3', EVERY & ~NO_SSLv3);
test(parses, '>=TLSv1', 0, 0x0301);
test(parses, '<=TLSv1.2', 0, 0, 0x0303);
test(parses, '>=TLSv1.1 <=TLSv1.3', 0, 0x0302, 0x0304);
test(parses, '>=tlsv1 >=TLSV1.2', 0, 0x0303);
test(parses, '>=TLSv1.2, >=None', 0, 0);
test(parses, '>=0303', 0, 0x0303);
test(parses, '>=303', 0, 0x0303);
test(parses, '<=0x0304', 0, 0, 0x0304);
test(parses, '<=0X304', 0, 0, 0x0304);
test(parses, '>=0999', 0, 0x0999);
test(parses, '>=7fffffff', 0, 0x7fffffff);
test(parses, '>=SSLv3 !TLSv1', NO_TLSv1, 0x0300);
test(parses, '!TLSv1.3', NO_TLSv1_3);

for (const list of [
	'TLSv1.4',
	'!',
	'!!TLSv1',
	'TLSv1 bogus',
	'>=',
	'>= TLSv1',
	'>=TLSv1.9',
	'>=0x',
	'>=-1',
	'>=80000000',
	'>=ffffffffffffffffffff',
	'>TLSv1',
	'=TLSv1',
	'!>=TLSv1',
	'>=!TLSv1',
	'toString',
	'__proto__',
]) {
	test(`parseProtocols rejects "${list}"`, t => {
		t.is(parseProtocols(list), undefined);
	});
}

test('parseProtocols returns a range or undefined for any input', t => {
	const token = fc.oneof(
		fc.constantFrom(
			'SSLv3',
			'TLSv1',
			'TLSv1.1',
			'TLSv1.2',
			'TLSv1.3',
			'None',
			'0x0304',
			'!',
			'>=',
			'<=',
			':',
			' ',
			',',
		),
		fc.string({maxLength: 6}),
	);
	fc.assert(
		fc.property(
			fc.array(token, {maxLength: 12}).map(tokens => tokens.join('')),
			list => {
				const range = parseProtocols(list);
				if (range !== undefined) {
					t.is(range.disabled & EVERY, range.disabled);
					for (const version of [range.minimum, range.maximum]) {
						t.true(Number.isInteger(version) && version >= 0 && version <= 0x7fffffff);
					}
				}
			},
		),
	);
});

test('the order of names has no effect on parseProtocols', t => {
	const names = fc.uniqueArray(fc.constantFrom('SSLv3', 'TLSv1', '!TLSv1', 'TLSv1.2', '!TLSv1.3', 'tlsv1.1'));
	fc.assert(
		fc.property(names, list => {
			t.deepEqual(parseProtocols(list.join(' ')), parseProtocols(list.toReversed().join(':')));
		}),
	);
});

const stock: CipherGrades = {
	tls_high_cipherlist: 'HIGH-LIST',
	tls_medium_cipherlist: 'MEDIUM-LIST',
	tls_low_cipherlist: 'LOW-LIST',
	tls_export_cipherlist: 'EXPORT-LIST',
	tls_null_cipherlist: 'NULL-LIST',
};
const since38: CipherGrades = {...stock, tls_low_cipherlist: undefined, tls_export_cipherlist: undefined};

const lists = test.macro({
	exec(t, grades: CipherGrades, grade: string, exclusions: string, expected: CipherList) {
		t.deepEqual(cipherList(grades, grade, exclusions), expected);
	},
	title(_, grades: CipherGrades, grade: string, exclusions: string) {
		return `cipherList of ${grade} without "${exclusions}"${grades === since38 ? ', from 3.8 on' : ''}`;
	},
});

test(lists, stock, 'high', '', {list: 'HIGH-LIST'});
test(lists, stock, 'medium', '', {list: 'MEDIUM-LIST'});
test(lists, stock, 'low', '', {list: 'LOW-LIST'});
test(lists, stock, 'export', '', {list: 'EXPORT-LIST'});
test(lists, stock, 'null', '', {list: 'NULL-LIST'});
test(lists, since38, 'low', '', {list: 'MEDIUM-LIST'});
test(lists, since38, 'export', '', {list: 'MEDIUM-LIST'});
test(lists, {...stock, tls_low_cipherlist: ''}, 'low', 'aNULL', {list: 'MEDIUM-LIST:!aNULL'});
test(lists, {...stock, tls_export_cipherlist: ''}, 'export', 'aNULL', {list: 'MEDIUM-LIST:!aNULL'});
test(lists, stock, 'HiGh', '', {list: 'HIGH-LIST'});
test(lists, stock, 'high', 'aNULL, MD5:DES RC4', {list: 'HIGH-LIST:!aNULL:!MD5:!DES:!RC4'});
test(lists, stock, 'high', 'aNULL+AES', {list: 'HIGH-LIST:!aNULL+AES'});
test(lists, stock, 'invalid', '', {invalidGrade: 'invalid'});
test(lists, stock, 'Bogus', '', {invalidGrade: 'Bogus'});
test(lists, stock, '', '', {invalidGrade: ''});
for (const token of ['!MD5', '+MD5', '-MD5', '@STRENGTH']) {
	test(lists, stock, 'high', `aNULL ${token} DES`, {invalidExclusion: token});
}

const options = test.macro<
	[workarounds: string, sslOptions: string, expected: number, ...lines: readonly string[]]
>({
	exec(t, workarounds, sslOptions, expected, ...lines) {
		const log = collectLog();
		t.is(contextOptions(workarounds, sslOptions, false).toString(16), expected.toString(16));
		t.deepEqual(log, lines);
	},
	title(_, workarounds, sslOptions) {
		return `contextOptions without "${workarounds}" and with "${sslOptions}"`;
	},
});

/* SSL_OP_ALL of 3.x, and IGNORE_UNEXPECTED_EOF. */
const DEFAULT = 0x800008d0;
test.serial(options, '', '', DEFAULT);
test.serial(options, '', 'NO_TICKET', 0x8000_48d0);
test.serial(options, '', 'no_ticket, No_Compression', (DEFAULT | 0x24000) >>> 0);
test.serial(
	options,
	'',
	'LEGACY_SERVER_CONNECT NO_RENEGOTIATION NO_SESSION_RESUMPTION_ON_RENEGOTIATION PRIORITIZE_CHACHA ENABLE_MIDDLEBOX_COMPAT',
	(DEFAULT | 0x4 | 0x40000000 | 0x10000 | 0x200000 | 0x100000) >>> 0,
);
test.serial(options, '', '0x4000', (DEFAULT | 0x4000) >>> 0);
/* The bits that other parameters control, and those of SSL_OP_ALL, cannot be set. */
test.serial(options, '', '0x3e000000 0x400000 0x80 0x800', DEFAULT);
test.serial(options, '', '0xffffffff', (DEFAULT | (0xffffffff & ~(0x3e000000 | 0x400000))) >>> 0);
/* Any value of tls_disable_workarounds also disables the workaround for Safari. */
test.serial(options, 'CRYPTOPRO_TLSEXT_BUG', '', 0x00000890);
test.serial(options, 'TLSEXT_PADDING', '', 0x80000880);
test.serial(options, 'dont_insert_empty_fragments', '', 0x80000090);
test.serial(options, 'MICROSOFT_SESS_ID_BUG', '', 0x80000890);
test.serial(options, 'CVE-2010-4180 CVE-2005-2969 TLS_ROLLBACK_BUG LEGACY_SERVER_CONNECT', '', 0x80000890);
test.serial(options, '0xffffffff', '', 0x80);
test.serial(
	options,
	'BOGUS',
	'',
	0x80000890,
	'warning: unknown tls_disable_workarounds value "BOGUS" in "BOGUS"',
);
test.serial(
	options,
	'',
	'NO_TICKET, bogus 0x123456789',
	(DEFAULT | 0x4000) >>> 0,
	'warning: unknown tls_ssl_options value "bogus" in "NO_TICKET, bogus 0x123456789"',
	'warning: unknown tls_ssl_options value "0x123456789" in "NO_TICKET, bogus 0x123456789"',
);

const groups = test.macro<[parameter: string, ...lines: readonly string[]]>({
	exec(t, parameter, ...lines) {
		const log = collectLog();
		const ctx = nonNull(SSL_CTX_new(TLS_client_method()), 'SSL_CTX_new');
		setGroups(ctx, {tls_eecdh_auto_curves: parameter}, postfix37);
		SSL_CTX_free(ctx);
		t.deepEqual(log, lines);
		t.deepEqual(drainErrors(), []);
	},
	title(_, parameter) {
		return `setGroups with "${parameter}"`;
	},
});

/* Daemon tests check which groups are offered. */
test.serial(groups, '');
test.serial(groups, ' , ');
test.serial(groups, 'X25519 X448 prime256v1 secp521r1 secp384r1');
test.serial(groups, 'P-256,P-384');
test.serial(groups, 'X25519 bogus', 'warning: ignoring unknown ECDHE curve "bogus"');
test.serial(
	groups,
	'bogus',
	'warning: ignoring unknown ECDHE curve "bogus"',
	'warning: none of the configured ECDHE curves are supported',
);
/* OpenSSL has an object with this name, which is not a group. */
test.serial(groups, 'sha256', 'warning: none of the configured ECDHE curves are supported');
