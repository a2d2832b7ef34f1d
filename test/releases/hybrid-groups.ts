/*
 * Post-quantum key exchange: by default with Postfix 3.11 and OpenSSL 3.5, by configuration if
 * OpenSSL has it and Postfix uses group names (3.10). Both roles log it as stock does.
 */
import test, {type ExecutionContext} from 'ava';
import {OpenSSL_version_num} from '../../src/ffi/openssl/libcrypto.ts';
import {BothPrograms} from '../helpers/both-programs.ts';
import {type ClientRoleCase, runCase} from '../helpers/client-role-cases.ts';
import {connectServices} from '../helpers/connected-services.ts';
import {minorRelease} from '../helpers/release.ts';
import {visitService} from '../helpers/server-role-cases.ts';

const minor = minorRelease();
const HYBRID = 'X25519MLKEM768';
const inLibrary = OpenSSL_version_num() >= 0x30_50_00_00;
const onRequest = minor >= 10 && inLibrary;
const byDefault = minor >= 11 && inLibrary;

/* Services, by their configuration. */
const services: Readonly<Record<string, Readonly<Record<string, string>>>> = {
	wished: {tls_eecdh_auto_curves: `${HYBRID} X25519 prime256v1`},
	refused: {tls_eecdh_auto_curves: 'X25519 prime256v1'},
	mistyped: {tls_eecdh_auto_curves: 'X25519MLKEM767 X448'},
};

const both = new BothPrograms();
const {lab, peers} = both;
test.before(async () => {
	await both.start(
		{
			max_idle: '3s',
			smtp_tls_CAfile: lab.path('root.cert'),
			smtpd_tls_security_level: 'may',
			smtpd_tls_chain_files: lab.path('good.pem'),
			smtpd_tls_loglevel: '1',
		},
		{copies: services},
	);
});
test.after.always(async () => await both[Symbol.asyncDispose]());

/* Log and report must agree. */
function saysSo(t: ExecutionContext, lines: readonly string[], hybrid: boolean): void {
	const established = lines.filter(line => line.includes('TLS connection established'));
	t.is(established.length, 1);
	t.is(established[0]?.includes(` key-exchange ${HYBRID} `), hybrid, established[0]);
}

for (const service of ['tlsproxy', ...Object.keys(services)]) {
	const hybrid = service === 'wished' ? onRequest : service === 'tlsproxy' && byDefault;
	const title = hybrid ? HYBRID : 'an older group';

	test.serial(`${service}: a client uses ${title}`, async t => {
		const item = {id: service, client: '', settings: services[service] ?? {}};
		const expected = await visitService(t, both.stock, lab, item, service);
		t.deepEqual(await visitService(t, both.ours, lab, item, service), expected);
		t.is(expected.report?.key_exchange === HYBRID, hybrid, expected.report?.key_exchange);
		saysSo(t, expected.lines, hybrid);
	});
}

for (const [id, args, hybrid] of [
	['a server that takes all', '', byDefault],
	...(inLibrary
		? ([
				['a server that takes nothing else', `-groups ${HYBRID}`, byDefault],
				['a server that takes anything else', '-groups X25519:P-256', false],
			] as const)
		: []),
] as const) {
	test.serial(`${id}: ${hybrid ? HYBRID : 'an older group, or none'}`, async t => {
		const item: ClientRoleCase = {id, level: 'encrypt', server: 'good', arguments: args};
		const expected = await runCase(t, both.stock, peers, lab, item);
		t.deepEqual(await runCase(t, both.ours, peers, lab, item), expected);
		t.is(expected.report?.key_exchange === HYBRID, hybrid, expected.report?.key_exchange);
		if (expected.report !== undefined) {
			saysSo(t, expected.lines, hybrid);
		}
	});
}

for (const [title, client, server] of [
	['ours and stock', () => both.ours, () => both.stock],
	['stock and ours', () => both.stock, () => both.ours],
] as const) {
	test.serial(`${title}: ${byDefault ? HYBRID : 'an older group'}`, async t => {
		const item = {id: 'pair', level: 'encrypt', service: 'tlsproxy', init: {CAfile: ''}} as const;
		const stories = await connectServices(t, client(), server(), lab, item);
		for (const {report, lines} of [stories.client, stories.server]) {
			t.is(report?.key_exchange === HYBRID, byDefault, report?.key_exchange);
			saysSo(t, lines, byDefault);
		}
	});
}
