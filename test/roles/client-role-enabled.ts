import test from 'ava';
import {isIn, parameterOf} from '../../src/conf/parameters.ts';
import {
	type ClientRoleValues,
	clientRoleNames,
	isClientRoleEnabled,
} from '../../src/roles/client-role-enabled.ts';

const enables = test.macro<[values: Partial<ClientRoleValues>, enabled: boolean]>({
	exec(t, values, enabled) {
		const empty = {level: '', useTls: false, enforceTls: false, policy: '', perSite: ''};
		t.is(isClientRoleEnabled({...empty, ...values}), enabled);
	},
	title: (_, values, enabled) => `isClientRoleEnabled is ${enabled} with ${JSON.stringify(values)}`,
});

test(enables, {}, false);
test(enables, {useTls: true}, true);
test(enables, {enforceTls: true}, true);
test(enables, {level: 'none'}, false);
test(enables, {level: 'NONE', useTls: true, enforceTls: true}, false);
test(enables, {level: 'may'}, true);
test(enables, {level: 'bogus'}, true);
test(enables, {level: 'none', policy: 'hash:/etc/postfix/tls_policy'}, true);
test(enables, {perSite: 'hash:/etc/postfix/tls_per_site'}, true);

test('clientRoleNames has the names of the release', t => {
	for (const release of ['3.4', '3.6', '3.7', '3.12'] as const) {
		const {level, policy} = clientRoleNames(name => isIn(release, parameterOf(name)));
		t.true(isIn(release, parameterOf(level)), `${level} in ${release}`);
		t.true(isIn(release, parameterOf(policy)), `${policy} in ${release}`);
	}
});

test('clientRoleNames looks up each name, since a configuration may have only one of the new ones', t => {
	t.deepEqual(
		clientRoleNames(name => name === 'tlsproxy_client_security_level'),
		{level: 'tlsproxy_client_security_level', policy: 'tlsproxy_client_policy'},
	);
});
