/*
 * tls_legacy_public_key_fingerprints: fingerprints of the bare key bits, as in Postfix 2.9.0 to
 * 2.9.5. Releases before 3.9 log them if configured; those before 3.6 also match them.
 */
import {createHash} from 'node:crypto';
import test from 'ava';
import {mailVersion} from '../../postfix/lib/instance.ts';
import {releaseFeatures} from '../../src/conf/release.ts';
import {BothPrograms} from '../helpers/both-programs.ts';
import {type ClientRoleCase, runCase} from '../helpers/client-role-cases.ts';
import {openssl} from '../helpers/openssl.ts';
import {runServerCase} from '../helpers/server-role-cases.ts';

const features = releaseFeatures(mailVersion());
const {legacyFingerprints} = features;

const both = new BothPrograms();
const {lab, peers} = both;
test.before(async () => {
	await both.start({
		tls_legacy_public_key_fingerprints: 'yes',
		smtp_tls_CAfile: lab.path('root.cert'),
		smtpd_tls_CAfile: lab.path('root.cert'),
		smtpd_tls_security_level: 'may',
		smtpd_tls_chain_files: lab.path('good.pem'),
		smtpd_tls_ask_ccert: 'yes',
		smtpd_tls_fingerprint_digest: 'sha256',
		smtpd_tls_loglevel: 'summary,peercert',
	});
});
test.after.always(async () => await both[Symbol.asyncDispose]());

/* openssl(1) calls the bare RSA key RSAPublicKey. */
function fingerprintOf(name: string, bare: boolean): string {
	const info = lab.path(`${name}.spki`);
	openssl('x509', '-in', lab.path(`${name}.cert`), '-noout', '-pubkey', '-out', info);
	const pem = openssl('rsa', '-pubin', '-in', info, ...(bare ? ['-RSAPublicKey_out'] : []));
	const der = Buffer.from(pem.replaceAll(/-----.*?-----/g, ''), 'base64');
	return createHash('sha256')
		.update(der)
		.digest('hex')
		.toUpperCase()
		.replaceAll(/..(?=.)/g, '$&:');
}

const legacy: Pick<ClientRoleCase, 'params' | 'init'> = {
	params: {tls_legacy_public_key_fingerprints: 1},
	init: {log_level: 'summary,peercert,certmatch', mdalg: 'sha256'},
};

for (const server of ['good', 'goodec', 'ed'] as const) {
	test.serial(`a server with ${server}: as with stock`, async t => {
		const item: ClientRoleCase = {...legacy, id: server, level: 'encrypt', server, start: {mdalg: 'sha256'}};
		const expected = await runCase(t, both.stock, peers, lab, item);
		t.deepEqual(await runCase(t, both.ours, peers, lab, item), expected);
		if (server === 'good') {
			t.is(expected.report?.peer_pubkey_fingerprint, fingerprintOf('good', legacyFingerprints));
		}
	});
}

test.serial('a client with a certificate: as with stock', async t => {
	const item = {id: 'client', client: '-cert %client.cert -key %client.key'};
	const visits = await runServerCase(t, both.stock, lab, item);
	t.deepEqual(await runServerCase(t, both.ours, lab, item), visits);
	t.is(visits[0]?.report?.peer_pubkey_fingerprint, fingerprintOf('client', legacyFingerprints));
});

if (features.digestLists) {
	for (const bare of [true, false]) {
		test.serial(
			`a fingerprint of ${bare ? 'the bare key matches' : 'the whole key does not match'}`,
			async t => {
				const item: ClientRoleCase = {
					...legacy,
					id: `match-${bare}`,
					level: 'fingerprint',
					server: 'good',
					start: {
						mdalg: 'sha256',
						dane: {
							domain: '',
							ta: [],
							ee: [{mdalg: 'sha256', certs: [], pkeys: [fingerprintOf('good', bare)]}],
							certs: [],
							pkeys: [],
							flags: 0,
							exp: 0n,
						},
					},
				};
				const MATCHED = 8;
				const expected = await runCase(t, both.stock, peers, lab, item);
				t.deepEqual(await runCase(t, both.ours, peers, lab, item), expected);
				t.is((expected.report?.peer_status ?? 0) & MATCHED, bare ? MATCHED : 0);
			},
		);
	}
}
