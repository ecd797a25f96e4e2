/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/fixture.h"

void fixture_set_up(Fixture *f, const void *data) {
        static const FixtureOptions none;
        const FixtureOptions *options = data ?: &none;

        f->bus = test_bus_new(options->bus_xml);
        f->service = test_service_new(f->bus, &options->service);
        f->client = test_client_new(f->bus, options->client_uid != 0 ? options->client_uid : (uid_t) -1);
}

void fixture_tear_down(Fixture *f, const void *data) {
        /* The client first, so that the service's exit proves that it has cleaned up after one, too. */
        g_clear_pointer(&f->client, test_client_free);
        g_clear_pointer(&f->service, test_service_free);
        g_clear_pointer(&f->bus, test_bus_free);
}

void fixture_restart_service(Fixture *f, const TestServiceOptions *options) {
        g_clear_pointer(&f->service, test_service_free);
        test_wait_for(!test_bus_service_owner(f->bus));
        f->service = test_service_new(f->bus, options);
}
