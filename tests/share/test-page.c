/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The web page of the example Share in Chromium, which plays a phone: it downloads and uploads a large file.
 * The program runs with the real service. TEST_SHARE_PICTURES: a directory for a picture of the page. */

#include <glib/gstdio.h>
#include <json.h>
#include <libsoup/soup.h>

#include "bus/fixture.h"
#include "display.h"

#define SIZE (100 * 1024 * 1024)
#define WIDTH 390 /* of the phone */

typedef struct Page {
        TestBus *bus;
        TestService *service;
        char *directory;   /* with the shared file, and what the browser gets and sends */
        TestChild *share;  /* the program */
        TestChild *driver; /* of the browser */
        char *session;     /* the address of the browser */
        SoupSession *soup;
} Page;

static const char *no_display; /* why */

static bool can_run(void) {
        if (!test_require_private_network() || !test_require_program("chromium") ||
            !test_require_program("chromedriver"))
                return false;
        if (no_display)
                g_test_skip(no_display);
        return !no_display;
}

#define TEST_PAGE(sentence) TEST_OF_IF(p->session, sentence, Page, p, set_up, tear_down, NULL)

static char *path_of(Page *p, const char *name) {
        return g_build_filename(p->directory, name, NULL);
}

/* A command of WebDriver. Consumes the body. Returns the value, or NULL. */
static json_object *call(Page *p, const char *method, const char *command, json_object *body) {
        g_autofree char *address = g_strconcat(p->session, command, NULL);
        g_autoptr(SoupMessage) message = soup_message_new(method, address);
        g_autoptr(GBytes) request = NULL, reply = NULL;
        g_autoptr(GError) error = NULL;
        g_autofree char *text = NULL;
        json_object *object;
        json_object *value;

        if (g_str_equal(method, "POST")) {
                const char *json = body ? json_object_to_json_string(body) : "{}";

                request = g_bytes_new(json, strlen(json));
                soup_message_set_request_body_from_bytes(message, "application/json", request);
        }
        reply = soup_session_send_and_read(p->soup, message, NULL, &error);
        g_assert_no_error(error);
        text = g_strndup(g_bytes_get_data(reply, NULL), g_bytes_get_size(reply));
        if (soup_message_get_status(message) != 200)
                g_error("%s %s: %s", method, address, text);

        object = json_tokener_parse(text);
        value = json_object_get(json_object_object_get(object, "value"));
        json_object_put(object);
        json_object_put(body);
        return value;
}

/* Runs a script in the page, and returns its result as a string. */
static char *run_script(Page *p, const char *script) {
        json_object *body = json_object_new_object();
        json_object *value;
        char *text;

        json_object_object_add(body, "script", json_object_new_string(script));
        json_object_object_add(body, "args", json_object_new_array());
        value = call(p, "POST", "/execute/sync", body);
        text = g_strdup(json_object_get_string(value));
        json_object_put(value);
        return text;
}

/* The command of WebDriver for the element with this selector of CSS. */
static void call_element(Page *p, const char *selector, const char *command, json_object *body) {
        json_object *query = json_object_new_object();
        json_object *element;
        g_autofree char *path = NULL;

        json_object_object_add(query, "using", json_object_new_string("css selector"));
        json_object_object_add(query, "value", json_object_new_string(selector));
        element = call(p, "POST", "/element", query);
        json_object_object_foreach(element, key, id) {
                (void) key;
                path = g_strdup_printf("/element/%s/%s", json_object_get_string(id), command);
        }
        json_object_put(element);
        json_object_put(call(p, "POST", path, body));
}

static void open_page(Page *p, const char *address) {
        json_object *body = json_object_new_object();

        json_object_object_add(body, "url", json_object_new_string(address));
        json_object_put(call(p, "POST", "/url", body));
}

static void save_picture(Page *p, const char *name) {
        g_autofree char *path = g_build_filename(g_getenv("TEST_SHARE_PICTURES") ?: p->directory, name, NULL);
        json_object *picture = call(p, "GET", "/screenshot", NULL);
        gsize size;
        g_autofree guchar *data = g_base64_decode(json_object_get_string(picture), &size);

        json_object_put(picture);
        g_assert_true(g_file_set_contents(path, (char *) data, (gssize) size, NULL));
}

/* Random bytes, so that nothing can compress or mix them up. */
static void write_large_file(const char *path, guint32 seed) {
        g_autoptr(GRand) generator = g_rand_new_with_seed(seed);
        guint32 *data = g_new(guint32, SIZE / 4);

        for (gsize i = 0; i < SIZE / 4; i++)
                data[i] = g_rand_int(generator);
        g_assert_true(g_file_set_contents(path, (char *) data, SIZE, NULL));
        g_free(data);
}

static bool have_same_content(const char *a, const char *b) {
        g_autoptr(GMappedFile) first = g_mapped_file_new(a, FALSE, NULL);
        g_autoptr(GMappedFile) second = g_mapped_file_new(b, FALSE, NULL);

        return first && second && g_mapped_file_get_length(first) == g_mapped_file_get_length(second) &&
               memcmp(g_mapped_file_get_contents(first), g_mapped_file_get_contents(second),
                      g_mapped_file_get_length(first)) == 0;
}

static void start_browser(Page *p) {
        static const char *const announcement = "started successfully on port ";
        g_autofree char *log = path_of(p, "chromedriver");
        g_autofree char *downloads = path_of(p, "phone");
        g_autofree char *capabilities = NULL, *output = NULL;
        json_object *session;

        p->driver = test_child_new(WORDS("chromedriver", "--port=0"), &(TestSpawn) { .log = log });
        test_show_on_failure(log);
        test_wait_for(test_file_contains(log, announcement));
        output = test_read_file(log);
        p->session = g_strdup_printf("http://127.0.0.1:%d/session",
                                     atoi(strstr(output, announcement) + strlen(announcement)));

        /* The sandbox of Chromium does not work for root. */
        capabilities = g_strdup_printf(
                        "{\"capabilities\": {\"alwaysMatch\": {\"goog:chromeOptions\": {"
                        "\"args\": [\"--headless=new\", \"--no-sandbox\", \"--disable-gpu\", \"--disable-dev-shm-usage\"],"
                        "\"prefs\": {\"download.default_directory\": \"%s\", \"download.prompt_for_download\": false},"
                        "\"mobileEmulation\": {\"deviceMetrics\":"
                        "{\"width\": %d, \"height\": 700, \"pixelRatio\": 1, \"touch\": true, \"mobile\": true}}}}}}",
                        downloads, WIDTH);
        p->soup = soup_session_new_with_options("timeout", 120, NULL);
        session = call(p, "POST", "", json_tokener_parse(capabilities));
        output = (g_free(output), g_strdup(p->session));
        g_free(p->session);
        p->session = g_strdup_printf("%s/%s", output,
                                     json_object_get_string(json_object_object_get(session, "sessionId")));
        json_object_put(session);
}

static void set_up(Page *p, const void *data) {
        g_autofree char *dirs = NULL, *shared = NULL, *letter = NULL, *log = NULL;
        static const char *const folders[] = { "computer", "phone" };
        g_autofree char *content = NULL;

        if (!can_run())
                return;

        p->bus = test_bus_new(NULL);
        p->service = test_service_new(p->bus, NULL);
        p->directory = test_make_directory("page");
        for (gsize i = 0; i < G_N_ELEMENTS(folders); i++) {
                g_autofree char *folder = path_of(p, folders[i]);

                g_assert_cmpint(g_mkdir(folder, 0755), ==, 0);
        }
        dirs = g_build_filename(display_get_home(), "user-dirs.dirs", NULL);
        content = g_strdup_printf("XDG_DOWNLOAD_DIR=\"%s/computer\"\n", p->directory);
        g_assert_true(g_file_set_contents(dirs, content, -1, NULL));
        shared = path_of(p, "Holiday film.mp4");
        letter = path_of(p, "Letter.pdf");
        write_large_file(shared, 1);
        g_assert_true(g_file_set_contents(letter, "letter", -1, NULL));

        g_assert_true(g_setenv("DBUS_SYSTEM_BUS_ADDRESS", test_bus_address(p->bus), TRUE));
        log = path_of(p, "share.log");
        p->share = test_child_new(WORDS(g_getenv("TEST_SHARE"), shared, letter), &(TestSpawn) { .log = log });
        test_show_on_failure(log);
        test_wait_for(test_child_has_exited(p->share) || test_service_is_listening(p->service, 80));
        g_assert_false(test_child_has_exited(p->share));
        start_browser(p);
}

static void tear_down(Page *p, const void *data) {
        if (p->session)
                json_object_put(call(p, "DELETE", "", NULL));
        g_clear_object(&p->soup);
        g_clear_pointer(&p->driver, test_child_free);
        g_clear_pointer(&p->share, test_child_free);
        g_clear_pointer(&p->service, test_service_free);
        g_clear_pointer(&p->bus, test_bus_free);
        g_free(p->session);
        g_free(p->directory);
}

static bool script_says(Page *p, const char *script, const char *expected) {
        g_autofree char *result = run_script(p, script);

        return g_strcmp0(result, expected) == 0;
}

TEST_PAGE("a phone downloads and uploads a large file unchanged, and shows the progress") {
        g_autofree char *shared = path_of(p, "Holiday film.mp4");
        g_autofree char *downloaded = path_of(p, "phone/Holiday film.mp4");
        g_autofree char *sent = path_of(p, "Photo from phone.raw");
        g_autofree char *received = path_of(p, "computer/Photo from phone.raw");
        json_object *keys = json_object_new_object();
        g_autofree char *values = NULL;

        open_page(p, "http://" TEST_IPV4 "/");
        test_assert_text(run_script(p, "return document.title"), "Shared Files");
        test_assert_text(run_script(p, "return innerWidth"), G_STRINGIFY(WIDTH));
        /* It fits, and fingers hit the links. */
        test_assert_text(run_script(p, "return document.documentElement.scrollWidth <= innerWidth"), "true");
        test_assert_text(run_script(p, "return Array.from(document.querySelectorAll('li a, button, .button'))"
                                       ".every(e => e.getBoundingClientRect().height >= 44)"),
                         "true");
        save_picture(p, "page.png");

        call_element(p, "a[href^='/files/1/']", "click", NULL);
        test_wait_for(g_file_test(downloaded, G_FILE_TEST_EXISTS));
        test_wait_for(have_same_content(shared, downloaded));
        test_wait_for(script_says(p, "return document.querySelector('#downloads .name')?.textContent",
                                  "Holiday film.mp4"));
        test_wait_for(script_says(p, "return document.querySelector('#downloads .detail')?.textContent",
                                  "104.9\u00A0MB"));

        write_large_file(sent, 2);
        g_free(run_script(
                        p,
                        "window.values = [];"
                        "new MutationObserver(() => window.values.push(document.querySelector('progress').value))"
                        ".observe(document.getElementById('uploads'), {attributes: true, subtree: true})"));
        json_object_object_add(keys, "text", json_object_new_string(sent));
        call_element(p, "#files", "value", keys);
        test_wait_for(script_says(p, "return document.querySelector('#uploads [data-state]')?.dataset.state",
                                  "sent"));
        g_assert_true(have_same_content(sent, received));
        values = run_script(p,
                            "return window.values.some(v => v > 0 && v < 1) && window.values.at(-1) === 1");
        g_assert_cmpstr(values, ==, "true");
        test_assert_text(run_script(p, "return document.querySelector('#uploads .detail').textContent"),
                         "Sent");
        save_picture(p, "page-sent.png");
}

/* Of a program on the phone that reads this many bytes. */
static GSocketConnection *start_download(const char *path, gsize size) {
        g_autoptr(GSocketClient) client = g_socket_client_new();
        g_autoptr(GError) error = NULL;
        GSocketConnection *connection = g_socket_client_connect_to_host(client, TEST_IPV4, 80, NULL, &error);
        g_autofree char *text = g_strdup_printf("GET %s HTTP/1.1\r\nHost: " TEST_IPV4 "\r\n\r\n", path);
        g_autofree char *buffer = g_malloc(size);

        g_assert_no_error(error);
        g_assert_true(g_output_stream_write_all(g_io_stream_get_output_stream(G_IO_STREAM(connection)), text,
                                                strlen(text), NULL, NULL, NULL));
        g_assert_true(g_input_stream_read_all(g_io_stream_get_input_stream(G_IO_STREAM(connection)), buffer,
                                              size, NULL, NULL, NULL));
        return connection;
}

/* The result of a command of the DevTools; a string of JSON in it. */
static char *ask(Page *p, const char *command, const char *parameters, const char *key) {
        json_object *body = json_object_new_object();
        json_object *result;
        char *text;

        json_object_object_add(body, "cmd", json_object_new_string(command));
        json_object_object_add(body, "params", json_tokener_parse(parameters));
        result = call(p, "POST", "/goog/cdp/execute", body);
        text = g_strdup(json_object_to_json_string(key ? json_object_object_get(result, key) : result));
        json_object_put(result);
        return text;
}

static void send_file(Page *p, const char *path) {
        json_object *keys = json_object_new_object();

        json_object_object_add(keys, "text", json_object_new_string(path));
        call_element(p, "#files", "value", keys);
}

static void wait_for_uploads(Page *p, const char *n) {
        test_wait_for(script_says(p, "return document.querySelectorAll('#uploads [data-state=sent]').length",
                                  n));
}

TEST_PAGE("the page shows the progress of a download until it ends") {
        g_autoptr(GSocketConnection) download = start_download("/files/1/Holiday%20film.mp4", SIZE / 2);
        g_autofree char *long_name = g_strnfill(120, 'x');
        g_autofree char *photo = path_of(p, "Photo.jpg"), *long_path = path_of(p, long_name);

        g_assert_true(g_file_set_contents(photo, "photo", -1, NULL));
        g_assert_true(g_file_set_contents(long_path, "letter", -1, NULL));
        open_page(p, "http://" TEST_IPV4 "/");
        test_wait_for(script_says(p,
                                  "const bar = document.querySelector('#downloads progress');"
                                  "return bar !== null && bar.value > 0 && bar.value < bar.max",
                                  "true"));
        send_file(p, photo);
        wait_for_uploads(p, "1");
        save_picture(p, "page-light.png");
        g_free(ask(p, "Emulation.setEmulatedMedia",
                   "{\"features\": [{\"name\": \"prefers-color-scheme\", \"value\": \"dark\"}]}", NULL));
        test_assert_text(run_script(p, "return getComputedStyle(document.body).backgroundColor"),
                         "rgb(34, 34, 34)");
        save_picture(p, "page-dark.png");

        send_file(p, long_path);
        wait_for_uploads(p, "2");
        test_assert_text(run_script(p, "return document.documentElement.scrollWidth <= innerWidth"), "true");

        g_clear_object(&download);
        test_wait_for(script_says(p, "return document.querySelector('#downloads .detail')?.textContent",
                                  "Interrupted"));
        test_assert_text(run_script(p, "return document.querySelector('#downloads progress')"), NULL);
}

/* Without scripts in the page, WebDriver cannot find elements. */
static char *find_node(Page *p, const char *selector) {
        g_autofree char *document = ask(p, "DOM.getDocument", "{\"depth\": 0}", "root");
        json_object *root = json_tokener_parse(document);
        g_autofree char *query = g_strdup_printf("{\"nodeId\": %d, \"selector\": \"%s\"}",
                                                 json_object_get_int(json_object_object_get(root, "nodeId")),
                                                 selector);
        g_autofree char *id = ask(p, "DOM.querySelector", query, "nodeId");

        json_object_put(root);
        return g_strdup_printf("\"nodeId\": %s", id);
}

static void activate_node(Page *p, const char *selector) {
        g_autofree char *node = find_node(p, selector), *query = g_strdup_printf("{%s}", node);

        g_free(ask(p, "DOM.focus", query, NULL));
        g_free(ask(p, "Input.dispatchKeyEvent",
                   "{\"type\": \"keyDown\", \"key\": \"Enter\", \"code\": \"Enter\", \"text\": \"\\r\","
                   " \"windowsVirtualKeyCode\": 13}",
                   NULL));
        g_free(ask(p, "Input.dispatchKeyEvent",
                   "{\"type\": \"keyUp\", \"key\": \"Enter\", \"code\": \"Enter\", \"windowsVirtualKeyCode\": 13}",
                   NULL));
}

static bool page_has(Page *p, const char *text) {
        g_autofree char *node = find_node(p, "body"), *query = g_strdup_printf("{%s}", node);
        g_autofree char *html = ask(p, "DOM.getOuterHTML", query, "outerHTML");

        return strstr(html, text);
}

TEST_PAGE("files can be downloaded without JavaScript") {
        g_autofree char *film = path_of(p, "Holiday film.mp4");
        g_autofree char *downloaded = path_of(p, "phone/Holiday film.mp4");

        open_page(p, "http://" TEST_IPV4 "/");
        g_free(ask(p, "Emulation.setScriptExecutionDisabled", "{\"value\": true}", NULL));
        g_free(ask(p, "Page.reload", "{}", NULL));
        /* The button for uploads needs the script. */
        test_wait_for(page_has(p, "data-uploads=\\\"allowed\\\" hidden=\\\"\\\">"));
        activate_node(p, "a[href^='/files/1/']");
        test_wait_for(have_same_content(film, downloaded));

        g_free(ask(p, "Page.reload", "{}", NULL));
        test_wait_for(page_has(p, "<h2>Downloads"));
        g_free(ask(p, "Emulation.setScriptExecutionDisabled", "{\"value\": false}", NULL));
}

TEST_PAGE("the page shows that an upload has failed") {
        g_autofree char *sent = path_of(p, "Letter.pdf");
        json_object *keys = json_object_new_object();

        open_page(p, "http://" TEST_IPV4 "/");
        test_child_signal(p->share, SIGTERM);
        test_wait_for(!test_service_is_listening(p->service, 80));
        json_object_object_add(keys, "text", json_object_new_string(sent));
        call_element(p, "#files", "value", keys);
        test_wait_for(script_says(p, "return document.querySelector('#uploads [data-state]')?.dataset.state",
                                  "failed"));
        test_assert_text(run_script(p, "return document.querySelector('#uploads .detail').textContent"),
                         "Not sent");
}

int main(int argc, char *argv[]) {
        test_init(&argc, &argv);
        (void) test_enter_private_network();
        no_display = display_start();
        return test_run();
}
