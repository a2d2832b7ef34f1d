import test from 'ava';
import {ConfigurationError} from '../../src/base/errors.ts';
import {facilityNumber} from '../../src/log/facility.ts';

test('facilityNumber returns the numbers of syslog.h', t => {
	t.is(facilityNumber('kern', '/etc/postfix'), 0);
	t.is(facilityNumber('mail', '/etc/postfix'), 16);
	t.is(facilityNumber('authpriv', '/etc/postfix'), 80);
	t.is(facilityNumber('local7', '/etc/postfix'), 184);
});

for (const name of ['nope', 'MAIL', '', 'security', 'local8']) {
	test(`facilityNumber refuses "${name}"`, t => {
		t.throws(() => facilityNumber(name, '/some/where'), {
			instanceOf: ConfigurationError,
			message: `file /some/where/main.cf: parameter syslog_facility: unrecognized value: ${name}`,
		});
	});
}
