/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib/gi18n.h>

#include "share-page.h"

static void append_text(GString *html, const char *text) {
        g_autofree char *escaped = g_markup_escape_text(text, -1);

        g_string_append(html, escaped);
}

static void append_row(GString *rows,
                       const char *address,
                       const char *name,
                       const char *detail,
                       gboolean download) {
        g_string_append(rows, "<li><a href=\"");
        append_text(rows, address);
        g_string_append(rows, download ? "\" download>" : "\">");
        g_string_append(rows, "<span class=\"name\" dir=\"auto\">");
        append_text(rows, name);
        g_string_append(rows, "</span><span class=\"detail\">");
        append_text(rows, detail);
        g_string_append(rows, "</span></a></li>\n");
}

/* Replaces each {{name}} in page.html. */
static char *fill(const char *heading, GString *rows, const char *zip, gboolean uploads, const char *nonce) {
        g_autoptr(GBytes) bytes = g_resources_lookup_data("/org/example/TCPServerSocket/Share/page.html",
                                                          G_RESOURCE_LOOKUP_FLAGS_NONE, NULL);
        g_auto(GStrv) parts = g_strsplit(g_bytes_get_data(bytes, NULL), "{{", -1);
        const struct {
                const char *name, *text;
        } texts[] = {
                /* Translators: the code of your language, as in the attribute lang of HTML, such as "de". */
                { "language", _("en") },
                { "heading", heading },
                { "nonce", nonce },
                { "zip", zip },
                { "zip-hidden", rows->len > 0 ? "" : "hidden" },
                { "download-all", _("Download All as Zip Archive") },
                { "empty", rows->len > 0 ? "" : _("Nothing is shared here.") },
                { "upload-hidden", uploads ? "" : "hidden" },
                { "send", _("Send Files") },
                { "send-hint", _("The files are saved on the other computer.") },
                { "sending", _("Sending…") },
                { "sent", _("Sent") },
                { "failed", _("Not sent") },
        };
        GString *html = g_string_new(parts[0]);

        for (guint i = 1; parts[i]; i++) {
                const char *end = strstr(parts[i], "}}");
                g_autofree char *name = g_strndup(parts[i], (gsize) (end - parts[i]));

                if (g_str_equal(name, "rows"))
                        g_string_append_len(html, rows->str, (gssize) rows->len);
                for (guint j = 0; j < G_N_ELEMENTS(texts); j++)
                        if (g_str_equal(name, texts[j].name))
                                append_text(html, texts[j].text);
                g_string_append(html, end + strlen("}}"));
        }
        return g_string_free(html, FALSE);
}

char *share_page_create_nonce(void) {
        return g_uuid_string_random();
}

char *share_page_get_policy(const char *nonce) {
        return g_strdup_printf(
                        "default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-%s'; "
                        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
                        nonce);
}

char *share_page_for_items(GListModel *items, gboolean uploads, const char *nonce) {
        g_autoptr(GString) rows = g_string_new(NULL);
        guint n_items = g_list_model_get_n_items(items);

        for (guint i = 0; i < n_items; i++) {
                g_autoptr(ShareItem) item = g_list_model_get_item(items, i);
                g_autofree char *basename = g_file_get_basename(share_item_get_file(item));
                g_autofree char *escaped = g_uri_escape_string(basename, NULL, FALSE);
                gboolean is_folder = share_item_is_folder(item);
                g_autofree char *address = g_strdup_printf("/files/%u/%s%s", share_item_get_id(item), escaped,
                                                           is_folder ? "/" : "");

                append_row(rows, address, share_item_get_name(item), share_item_get_detail(item), !is_folder);
        }
        return fill(_("Shared Files"), rows, "/zip", uploads, nonce);
}

char *share_page_for_folder(const ShareFound *folder, const char *address, const char *nonce) {
        g_autoptr(GString) rows = g_string_new(NULL);
        g_autofree char *zip = g_strconcat("/zip", address + strlen("/files"), NULL);

        for (guint i = 0; i < folder->children->len; i++) {
                GFileInfo *info = folder->children->pdata[i];
                gboolean is_folder = g_file_info_get_file_type(info) == G_FILE_TYPE_DIRECTORY;
                g_autofree char *escaped = g_uri_escape_string(g_file_info_get_name(info), NULL, FALSE);
                g_autofree char *child = g_strconcat(address, escaped, is_folder ? "/" : "", NULL);
                g_autofree char *size = g_format_size((guint64) g_file_info_get_size(info));

                append_row(rows, child, g_file_info_get_display_name(info), is_folder ? _("Folder") : size,
                           !is_folder);
        }
        return fill(g_file_info_get_display_name(folder->info), rows, zip, FALSE, nonce);
}
