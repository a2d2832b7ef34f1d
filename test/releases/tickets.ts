/*
 * Changes of 3.11: only the first ticket of a connection is stored, and a resumed session is
 * logged as a ticket session only if it was in a ticket.
 */
import test from 'ava';
import {BothPrograms} from '../helpers/both-programs.ts';
import {type ClientRoleCase, runCase} from '../helpers/client-role-cases.ts';
import {minorRelease} from '../helpers/release.ts';
import {runServerCase} from '../helpers/server-role-cases.ts';

const late = minorRelease() >= 11;

const both = new BothPrograms();
const {lab, peers} = both;
test.before(async () => {
	await both.start({
		smtp_tls_CAfile: lab.path('root.cert'),
		smtp_tls_session_cache_database: 'btree:${data_directory}/smtp_scache',
		smtpd_tls_security_level: 'may',
		smtpd_tls_chain_files: lab.path('good.pem'),
		smtpd_tls_session_cache_database: 'btree:${data_directory}/smtpd_scache',
		smtpd_tls_loglevel: 'summary,cache',
	});
});
test.after.always(async () => await both[Symbol.asyncDispose]());

/* A session in the cache of the server, which is put into a ticket if the client supports tickets. */
const TICKET = ' (RFC 5077 session ticket)';
for (const [id, first, second, ticketed] of [
	['cached, and then put into a ticket', '-tls1_2 -no_ticket', '-tls1_2', !late],
	['cached', '-tls1_2 -no_ticket', '-tls1_2 -no_ticket', false],
	['in a ticket', '-tls1_2', '-tls1_2', true],
	['in a ticket of TLSv1.3', '-tls1_3', '-tls1_3', true],
] as const) {
	test.serial(`a session that was ${id}: as with stock`, async t => {
		const item = {id: id.replaceAll(/\W/g, ''), client: first, again: {client: second}};
		const visits = await runServerCase(t, both.stock, lab, item);
		t.deepEqual(await runServerCase(t, both.ours, lab, item), visits);
		const reused = visits[1]?.lines.filter(line => line.startsWith('[PEER]: Reusing old session'));
		t.deepEqual(reused, [`[PEER]: Reusing old session${ticketed ? TICKET : ''}`]);
	});
}

for (const count of [1, 2, 4]) {
	const stored = late ? 1 : count;
	test.serial(`of ${count} tickets of a server ${stored} are stored: as with stock`, async t => {
		const item: ClientRoleCase = {
			id: `given-${count}`,
			level: 'encrypt',
			server: 'good',
			arguments: `-tls1_3 -num_tickets ${count}`,
			/* Its default depends on the release, and is part of the cache key. */
			init: {log_level: 'summary,cache', mdalg: 'sha256'},
		};
		const expected = await runCase(t, both.stock, peers, lab, item);
		t.deepEqual(await runCase(t, both.ours, peers, lab, item), expected);
		for (const daemon of [both.ours, both.stock]) {
			const saved = (await daemon.lines()).filter(line => line.startsWith(`save session smtp&${item.id}&`));
			t.is(saved.length, stored);
		}
	});
}
